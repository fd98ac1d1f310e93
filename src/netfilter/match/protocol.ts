/**
 * `-p`: the transport protocol. Source: iptables(8); nft(8) "meta l4proto".
 */
import { protocolName } from '../protocol-names.ts';
import type { Match, MatchType } from './match.ts';

export interface ProtocolMatch extends Match {
  readonly kind: 'protocol';
  readonly negated: boolean;
  readonly protocols: readonly string[];
}

export const protocol: MatchType<ProtocolMatch> = {
  kind: 'protocol',
  test({ negated, protocols }, packet) {
    packet.lookedAt.add('protocol');
    return protocols.includes(protocolName(packet.protocol)) !== negated;
  },
  words({ negated, protocols }) {
    return `that are ${negated ? 'not ' : ''}${protocols.map((name) => name.toUpperCase()).join(' or ')}`;
  },
};
