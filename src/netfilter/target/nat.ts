/**
 * DNAT, SNAT, MASQUERADE, NETMAP: another address. SNAT and MASQUERADE come after routing and change who it seems to come from.
 * Source: iptables-extensions(8) "DNAT", "SNAT", "MASQUERADE", "NETMAP"; nft(8) "NAT STATEMENTS".
 */
import { canonicalIp, parseEndpoint, parseIp } from '../../net/address.ts';
import { type NumberRange, parseNumberRange, rangeWords } from '../number-range.ts';
import { natPort } from './redirect.ts';
import type { Destination, IptablesTarget, Target, TargetType } from './target.ts';

export interface NatTarget extends Target {
  readonly kind: 'nat';
  readonly nat: 'DNAT' | 'SNAT' | 'MASQUERADE' | 'NETMAP';
  /** The one new address; absent where it stays, or where there is a choice (`choice`). */
  readonly ip?: string;
  readonly ports?: NumberRange;
  /** The kernel picks one of several addresses or ports. */
  readonly choice: boolean;
}

export const nat: TargetType<NatTarget> = {
  kind: 'nat',
  apply({ nat: kind, ip, ports, choice }, packet) {
    const destination = kind === 'DNAT' || (kind === 'NETMAP' && (packet.hook === 'PREROUTING' || packet.hook === 'OUTPUT'));
    if (!destination) return { do: 'accept' };
    const to: Destination = {};
    const port = natPort(packet, ports, choice && ports !== undefined && ports.low !== ports.high);
    if (ip !== undefined) to.ip = ip;
    if (port !== undefined) to.port = port;
    const kept = ip === undefined && !choice ? packet.address('destination') : undefined;
    packet.redirectTo(ip === undefined ? kept : parseIp(ip), port);
    return { do: 'send', verdict: 'DNAT', to, ends: true };
  },
  words({ nat: kind, ip, ports, text }) {
    const where = [ip ?? '', ports === undefined ? '' : `port ${rangeWords([ports])}`].filter((word) => word !== '').join(' ');
    switch (kind) {
      case 'DNAT':
        return `send them to ${where === '' ? text : where} instead`;
      case 'SNAT':
        return `let them seem to come from ${where === '' ? text : where}`;
      case 'MASQUERADE':
        return "let them seem to come from this host's own address";
      default:
        return `move their address into another block (${text})`;
    }
  },
};

/** `10.0.0.1:80`, `10.0.0.1-10.0.0.5:80-90`, `:15053`, `[::1]:53`, `fd00::1`. `undefined` when it is none of these. */
export function parseNatDestination(text: string): { ip?: string; ports?: NumberRange; choice: boolean } | undefined {
  let host = text;
  let ports: NumberRange | undefined;
  const withPort = /^(\[[^\]]*\](?:-\[[^\]]*\])?|[^:[\]]*):(\d+(?:-\d+)?)(?:\/\d+)?$/.exec(text);
  if (withPort !== null) {
    host = withPort[1]!;
    ports = parseNumberRange(withPort[2]!, '-', 65535);
    if (ports === undefined) return undefined;
  }
  if (host === '') return ports === undefined ? undefined : { ports, choice: false };
  const [low, high] = host.split('-');
  const ip = canonicalIp(low ?? '');
  const last = high === undefined ? ip : canonicalIp(high);
  if (ip === undefined || last === undefined) return parseEndpoint(text) === undefined ? undefined : { choice: true };
  const choice = ip !== last;
  return { choice, ...(choice ? {} : { ip }), ...(ports === undefined ? {} : { ports }) };
}

export const natOptions: IptablesTarget = {
  names: ['DNAT', 'SNAT', 'MASQUERADE', 'NETMAP'],
  options: ['--to-destination', '--to-source', '--to-ports', '--to', '--random', '--random-fully', '--persistent'],
  parse(name, options) {
    let found: { ip?: string; ports?: NumberRange; choice: boolean } = { choice: name === 'NETMAP' };
    let times = 0;
    let random = false;
    for (const option of options) {
      if (option.name.startsWith('--random')) random = true;
      if (option.name !== '--to-destination' && option.name !== '--to-source') continue;
      const parsed = parseNatDestination(option.values[0] ?? '');
      if (parsed === undefined) return undefined;
      found = times++ === 0 ? parsed : { choice: true };
    }
    const text = [name, ...options.flatMap((option) => [option.name, ...option.values])].join(' ');
    return { kind: 'nat', nat: name as NatTarget['nat'], ...found, choice: found.choice || random, text } satisfies NatTarget as Target;
  },
};
