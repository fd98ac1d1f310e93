/**
 * Ports: `--dport`, `--sport` of tcp, udp, sctp and dccp, and nft's `tcp dport { 53, 15008 }`. They imply the protocol.
 * Source: iptables-extensions(8) "tcp"; Linux net/netfilter/xt_tcpudp.c.
 */
import { inRanges, type NumberRange, parseNumberRange, rangeWords } from '../number-range.ts';
import type { PacketState, Side } from '../packet-state.ts';
import { portProtocols, protocolName, servicePort } from '../protocol-names.ts';
import type { Truth } from '../truth.ts';
import type { Match, MatchType } from './match.ts';

export interface PortsMatch extends Match {
  readonly kind: 'ports';
  /** `either`: multiport's `--ports`, where one of the two is enough. */
  readonly side: Side | 'either';
  readonly negated: boolean;
  readonly ranges: readonly NumberRange[];
  /** The protocols that it implies. */
  readonly protocols: readonly string[];
}

export function testPort(packet: PacketState, side: Side, ranges: readonly NumberRange[]): Truth {
  const port = packet.port(side);
  if (port === undefined) return packet.askTruth(`${side} port ${JSON.stringify(ranges)}`, `${side}.port`, 'truncated');
  return inRanges(ranges, port);
}

export const ports: MatchType<PortsMatch> = {
  kind: 'ports',
  test({ side, negated, ranges, protocols }, packet) {
    packet.lookedAt.add('protocol');
    if (!protocols.includes(protocolName(packet.protocol))) return false;
    let truth: Truth;
    if (side === 'either') {
      truth = testPort(packet, 'source', ranges);
      if (truth !== true) {
        const other = testPort(packet, 'destination', ranges);
        if (other === true || truth === false) truth = other;
      }
    } else truth = testPort(packet, side, ranges);
    return typeof truth === 'boolean' ? truth !== negated : truth;
  },
  words({ side, negated, ranges }) {
    const where = side === 'source' ? 'from' : side === 'destination' ? 'to' : 'from or to';
    return `${where} ${negated ? 'any port but ' : 'port '}${rangeWords(ranges)}`;
  },
};

/** One port or a range of ports, by number or by a well-known name; `undefined` when it is neither. */
export function parsePorts(text: string): NumberRange | undefined {
  const range = parseNumberRange(text, ':', 65535);
  if (range !== undefined) return range;
  const port = servicePort(text);
  return port === undefined ? undefined : { low: port, high: port };
}

/** The one protocol of the rule where it has ports, else all that have. */
export function impliedProtocols(protocol: string | undefined): readonly string[] {
  return protocol !== undefined && portProtocols.includes(protocol) ? [protocol] : portProtocols;
}
