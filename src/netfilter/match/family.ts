/**
 * `meta nfproto ipv4`: IPv4 or IPv6, asked by nft in tables that serve both. Source: nft(8).
 */
import type { Family } from '../../net/address.ts';
import type { Match, MatchType } from './match.ts';

export interface FamilyMatch extends Match {
  readonly kind: 'family';
  readonly negated: boolean;
  readonly families: readonly Family[];
}

export const family: MatchType<FamilyMatch> = {
  kind: 'family',
  test({ negated, families }, packet) {
    return families.includes(packet.family) !== negated;
  },
  words({ negated, families }) {
    return `of ${negated ? 'any version but ' : ''}${families.map((version) => `IPv${version}`).join(' or ')}`;
  },
};
