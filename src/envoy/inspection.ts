/**
 * What a listener's filters find out about a connection before its chain is chosen.
 * Source: source/extensions/filters/listener/{tls_inspector,http_inspector}/; source/common/listener_manager/active_tcp_socket.cc.
 */
import type { ConnectionFacts } from './connection-facts.ts';
import type { ChainInput } from './filter-chain-match.ts';
import type { Listener } from './listener.ts';
import type { ListenerFilterKind } from './listener-filter.ts';
import type { Three } from './three-valued.ts';

type Found = Pick<ChainInput, 'serverName' | 'transportProtocol' | 'applicationProtocols'>;

export type Inspection =
  | { readonly kind: 'found'; readonly possible: readonly Found[] }
  /** The client sent nothing, and the filters wait for it: for ever, … */
  | { readonly kind: 'waiting' }
  /** … or until the time-out closed the connection. */
  | { readonly kind: 'timed-out' };

const raw: Found = { transportProtocol: 'raw_buffer', serverName: '', applicationProtocols: [] };

/** Does a filter of this kind look at connections to this port? */
export function runs(listener: Listener, kind: ListenerFilterKind, port: number | undefined): Three {
  let result: Three = false;
  for (const filter of listener.listenerFilters) {
    if (filter.kind !== kind) continue;
    const disabled = filter.disabledFor(port);
    if (disabled === false) return true;
    if (disabled === 'unknown') result = 'unknown';
  }
  return result;
}

const choices = (value: Three) => (value === 'unknown' ? [true, false] : [value]);

function foundHttp(facts: ConnectionFacts): Found[] {
  const of = (...protocols: string[]): Found => ({ ...raw, applicationProtocols: protocols });
  switch (facts.http ?? 'unknown') {
    case 'http/1.0':
      return [of('http/1.0')];
    case 'http/1.1':
      return [of('http/1.1')];
    case 'h2c':
      return [of('h2c')];
    case 'unknown':
      return [of('http/1.1'), of('h2c'), of('http/1.0'), raw];
    default:
      return [raw];
  }
}

function foundTls(facts: ConnectionFacts): Found {
  return {
    transportProtocol: 'tls',
    ...(facts.serverName === undefined ? {} : { serverName: facts.serverName.toLowerCase() }),
    ...(facts.alpn === undefined ? {} : { applicationProtocols: facts.alpn }),
  };
}

function inspect(facts: ConnectionFacts, tls: boolean, http: boolean): Found[] {
  const found: Found[] = [];
  const silent = facts.http === 'no-bytes';
  if (tls && !silent && facts.transport !== 'raw_buffer') found.push(foundTls(facts));
  // Bytes of TLS that no tls_inspector saw are no HTTP either.
  if (!tls && facts.transport === 'tls') found.push(raw);
  else if (silent || facts.transport !== 'tls') found.push(...(http && !silent ? foundHttp(facts) : [raw]));
  return found;
}

/** What the filters may have found, given what is known of the connection. `port` is the original destination's. */
export function inspectConnection(listener: Listener, facts: ConnectionFacts, port: number | undefined): Inspection {
  const tls = runs(listener, 'tls_inspector', port);
  const http = runs(listener, 'http_inspector', port);
  if (facts.http === 'no-bytes' && (tls === true || http === true)) {
    if (listener.listenerFiltersTimeoutMs === 0) return { kind: 'waiting' };
    if (!listener.continueOnListenerFiltersTimeout) return { kind: 'timed-out' };
  }
  const possible = new Map<string, Found>();
  for (const withTls of choices(tls))
    for (const withHttp of choices(http)) for (const found of inspect(facts, withTls, withHttp)) possible.set(JSON.stringify(found), found);
  return { kind: 'found', possible: [...possible.values()] };
}
