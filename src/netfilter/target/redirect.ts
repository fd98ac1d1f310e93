/**
 * REDIRECT, nft's `redirect`: to this host itself, another port. From OUTPUT to 127.0.0.1 or ::1, from PREROUTING to the primary address of the incoming interface.
 * Source: iptables-extensions(8) "REDIRECT"; Linux net/netfilter/nf_nat_redirect.c.
 */
import { canonicalIp, type Family, parseIp } from '../../net/address.ts';
import { type NumberRange, parseNumberRange, rangeWords } from '../number-range.ts';
import type { PacketState } from '../packet-state.ts';
import { servicePort } from '../protocol-names.ts';
import type { Destination, IptablesTarget, Target, TargetType } from './target.ts';

export interface RedirectTarget extends Target {
  readonly kind: 'redirect';
  /** Absent: the port that it had. */
  readonly ports?: NumberRange;
  /** A port is picked by chance. */
  readonly random: boolean;
}

function loopback(family: Family): string {
  return family === 4 ? '127.0.0.1' : '::1';
}

function localAddress(packet: PacketState): string | undefined {
  if (packet.hook === 'OUTPUT') return loopback(packet.family);
  packet.lookedAt.add('in');
  if (packet.query.in === 'lo') return loopback(packet.family);
  return packet.query.localAddress === undefined ? undefined : canonicalIp(packet.query.localAddress);
}

/** The one port that is left after NAT; `undefined` when the kernel has a choice. */
export function natPort(packet: PacketState, range: NumberRange | undefined, random: boolean): number | undefined {
  if (random) return undefined;
  if (range === undefined) return packet.port('destination');
  const port = packet.port('destination');
  // The kernel keeps a port that is in the range already.
  if (port !== undefined && port >= range.low && port <= range.high) return port;
  return range.low === range.high ? range.low : undefined;
}

export const redirect: TargetType<RedirectTarget> = {
  kind: 'redirect',
  apply({ ports, random }, packet) {
    const to: Destination = {};
    const ip = localAddress(packet);
    const port = natPort(packet, ports, random && (ports === undefined || ports.low !== ports.high));
    if (ip !== undefined) to.ip = ip;
    if (port !== undefined) to.port = port;
    packet.redirectTo(ip === undefined ? undefined : parseIp(ip), port);
    return { do: 'send', verdict: 'REDIRECT', to, ends: true };
  },
  words({ ports }) {
    return ports === undefined
      ? 'send them to this host itself, whatever their address was'
      : `send them to port ${rangeWords([ports])} of this host itself instead`;
  },
};

export const redirectOptions: IptablesTarget = {
  names: ['REDIRECT'],
  options: ['--to-ports', '--to-port', '--random', '--random-fully'],
  parse(_name, options) {
    let ports: NumberRange | undefined;
    let random = false;
    const text = ['REDIRECT'];
    for (const option of options) {
      text.push(option.name, ...option.values);
      if (option.name.startsWith('--random')) random = true;
      else {
        const value = option.values[0] ?? '';
        const named = servicePort(value);
        ports = named === undefined ? parseNumberRange(value, '-', 65535) : { low: named, high: named };
        if (ports === undefined) return undefined;
      }
    }
    return { kind: 'redirect', random, text: text.join(' '), ...(ports === undefined ? {} : { ports }) } satisfies RedirectTarget as Target;
  },
};
