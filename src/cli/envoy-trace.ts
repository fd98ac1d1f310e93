/** `sidetrace envoy trace`: what one proxy does with one request, and what it rejected on the way. */
import type { EnvoyConfig } from '../envoy/config.ts';
import { formatEndpoint } from '../net/address.ts';
import type { Palette } from '../output/color.ts';
import { escapeText } from '../output/escape.ts';
import { decisionDetails } from '../output/text-leg.ts';
import type { Endpoint } from '../record/record.ts';
import type { RecordedWorld } from '../world/build.ts';
import { resolveDestination } from './explain-ends.ts';
import { UsageError } from './failure.ts';
import { askProxy, type ProxyAnswer } from './proxy-way.ts';
import { parseOpening, parseRequest, type RequestOptions } from './request-options.ts';
import { worldName } from './world-of.ts';

export interface TraceAnswer extends ProxyAnswer {
  readonly subject: string;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly listenerPort: number;
}

/** A source port that stands for any. */
const ANY_PORT = 40_000;

export function traceAnswer(
  world: RecordedWorld,
  config: EnvoyConfig,
  target: string,
  options: RequestOptions & { readonly listenerPort?: string },
): TraceAnswer {
  const destination = resolveDestination(target, [{ name: worldName(world), folder: '', world }]);
  const inbound = world.addresses.has(destination.ip);
  const own = [...world.addresses].find((address) => address.includes(':') === destination.ip.includes(':'));
  const source = {
    ip: inbound
      ? destination.ip.includes(':')
        ? '2001:db8::1'
        : '192.0.2.1'
      : (own ?? (destination.ip.includes(':') ? '::1' : '127.0.0.1')),
    port: ANY_PORT,
  };
  const listenerPort =
    options.listenerPort === undefined
      ? handOverPort(config, inbound ? 'INBOUND' : 'OUTBOUND', destination.port)
      : Number(options.listenerPort);
  if (!Number.isInteger(listenerPort) || listenerPort < 1 || listenerPort > 65_535)
    throw new UsageError(`Cannot deliver to the port "${options.listenerPort}": 1 to 65535 is wanted`);
  const opening = parseOpening(options);
  const request = parseRequest(options, target);
  return {
    subject: worldName(world),
    source,
    destination,
    listenerPort,
    ...askProxy(world.envoy!, { listener: { port: listenerPort }, source, destination, opening, request }),
  };
}

/** The port of the listener that hands connections over by their original destination; the destination's own where there is none. */
function handOverPort(config: EnvoyConfig, direction: 'INBOUND' | 'OUTBOUND', otherwise: number): number {
  const takers = config.listeners.filter(
    ({ value }) => value.bindToPort && (value.useOriginalDst || value.listenerFilters.some(({ kind }) => kind === 'original_dst')),
  );
  const fitting =
    takers.find(({ value }) => value.trafficDirection === direction) ??
    takers.find(({ name }) => name.toLowerCase().includes(direction.toLowerCase()));
  const address = fitting?.value.addresses.find(({ kind }) => kind === 'socket');
  return address?.kind === 'socket' ? address.port : otherwise;
}

export function traceText(found: TraceAnswer, palette: Palette): string {
  const asked =
    found.request === undefined
      ? 'bytes'
      : `${found.request.method} ${found.request.authority}${found.request.path}${found.request.assumed ? ' (assumed)' : ''}`;
  let out = `${palette.bold(escapeText(asked))} ${palette.dim('to')} ${formatEndpoint(found.destination.ip, found.destination.port)} ${palette.dim(`in ${escapeText(found.subject)}, delivered to port ${found.listenerPort}`)}\n`;
  const options = { palette, why: true, all: true, printNodeName: false, numeric: false, timeFormat: 'StampMilli', width: 100 } as const;
  for (const { label, value } of decisionDetails(found.decision, options)) out += `  ${palette.dim(label.padEnd(10))}${value}\n`;
  for (const { endpoint, cluster, opening } of found.targets) {
    const how = opening.transport === 'tls' ? `TLS${opening.serverName ? `, SNI ${escapeText(opening.serverName)}` : ''}` : 'plain text';
    out += `  ${palette.dim('goes to'.padEnd(10))}${palette.cyan(formatEndpoint(endpoint.ip, endpoint.port))} ${palette.dim('of')} ${escapeText(cluster)} ${palette.dim('·')} ${how}\n`;
  }
  for (const mirror of found.mirrors) out += `  ${palette.dim('copy to'.padEnd(10))}${escapeText(mirror)}\n`;
  return out;
}
