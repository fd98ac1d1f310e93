/**
 * `-f`: second and further fragments. What is asked here is a packet with its ports, or of a protocol without any: never one of these.
 * Source: iptables(8) "--fragment".
 */
import type { Match, MatchType } from './match.ts';

export interface FragmentMatch extends Match {
  readonly kind: 'fragment';
  readonly negated: boolean;
}

export const fragment: MatchType<FragmentMatch> = {
  kind: 'fragment',
  test({ negated }) {
    return negated;
  },
  words({ negated }) {
    return negated ? 'that are whole or a first fragment' : 'that are second or further fragments';
  },
};
