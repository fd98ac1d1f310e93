/** What the proxy decided for a connection that it accepted: the facts that its listener filters saw, put to the configuration that held. */
import { type ConnectionDecision, type ConnectionFacts, decideConnection } from '../envoy/connection.ts';
import type { RequestFacts } from '../envoy/request.ts';
import type { ConnectionTracker } from '../flow/exchange.ts';
import type { Exchange } from '../flow/http.ts';
import type { TimeBase } from '../net/time.ts';
import type { Subject } from './subject.ts';

/** Milliseconds of the Unix epoch. */
export function epochMs(base: TimeBase, timeNs: number): number {
  return base.epochSeconds * 1000 + timeNs / 1e6;
}

type Inspected = Pick<ConnectionFacts, 'transport' | 'serverName' | 'alpn' | 'http' | 'peer'>;

/** What the listener filters could see of the client's first bytes. */
function inspect(tracker: ConnectionTracker | undefined, payloadToDestination: boolean): Inspected {
  if (tracker === undefined || tracker.protocol === 'none')
    return payloadToDestination
      ? { transport: 'unknown', http: 'unknown' }
      : { transport: 'raw_buffer', http: 'no-bytes', serverName: '', alpn: [] };
  switch (tracker.protocol) {
    case 'tls': {
      const hello = tracker.tls?.clientHello;
      if (hello === undefined) return { transport: 'tls', http: 'none' };
      const peer = tracker.tls?.certificateUris[0]?.[0];
      return {
        transport: 'tls',
        http: 'none',
        ...(hello.sni === undefined && hello.cut ? {} : { serverName: hello.sni ?? '' }),
        ...(hello.cut && hello.alpn.length === 0 ? {} : { alpn: hello.alpn }),
        ...(peer === undefined ? {} : { peer }),
      };
    }
    case 'http1': {
      const protocol = tracker.exchanges[0]?.request?.protocol;
      return {
        transport: 'raw_buffer',
        serverName: '',
        alpn: [],
        http: protocol === 'HTTP/1.0' ? 'http/1.0' : protocol === undefined ? 'unknown' : 'http/1.1',
      };
    }
    case 'http2':
      return { transport: 'raw_buffer', serverName: '', alpn: [], http: 'h2c' };
    case 'server-first':
      return { transport: 'raw_buffer', serverName: '', alpn: [], http: tracker.firstClientByteNs === undefined ? 'no-bytes' : 'none' };
    case 'other':
      return { transport: 'raw_buffer', serverName: '', alpn: [], http: 'none' };
    case 'unknown':
      return { transport: 'unknown', http: 'unknown' };
  }
}

/** @returns `undefined` where there is no configuration, or the connection was not accepted by the proxy */
export function acceptConnection(subject: Subject): ConnectionDecision | undefined {
  const { world, record, translation, flow, base } = subject;
  const history = world.envoy;
  if (history === undefined) return undefined;
  const { rule } = record;
  const captured = rule?.verdict === 'REDIRECT' || rule?.verdict === 'TPROXY' || rule?.verdict === 'DNAT';
  const port = (captured ? rule.port : undefined) ?? translation.destination.port;
  return decideConnection(history, {
    atMs: epochMs(base, flow.firstNs),
    ...(flow.midstream ? { midstream: true } : {}),
    listener: captured ? { port } : { ip: translation.destination.ip, port },
    destination: { ip: translation.destination.ip, port: translation.destination.port },
    source: { ip: (translation.translated ?? translation).source.ip, port: (translation.translated ?? translation).source.port },
    ...inspect(subject.tracker, flow.payloadToDestination),
  });
}

/** The facts of a request for routing; `undefined` when it was not read well enough to ask. */
export function requestFacts(exchange: Exchange, base: TimeBase, originalPath: string | undefined): RequestFacts | undefined {
  const { request, requestStartNs } = exchange;
  if (request === undefined || requestStartNs === undefined) return undefined;
  const path = originalPath ?? request.path;
  if (request.method === undefined || path === undefined || request.authority === undefined) return undefined;
  return {
    atMs: epochMs(base, requestStartNs),
    method: request.method,
    authority: request.authority,
    path,
    headers: request.headers.map((field): [string, string] => [field.name, field.value]),
    headersComplete: request.headersComplete,
    ...(request.scheme === undefined ? {} : { scheme: request.scheme }),
  };
}
