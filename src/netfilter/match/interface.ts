/**
 * `-i`, `-o`: the interface that it came in by or leaves by. A trailing `+` (nft: `*`) stands for any rest.
 * Where a hook has no such interface the name is empty: only a negated match fits.
 * Source: iptables(8); Linux net/netfilter/nft_meta.c nft_meta_store_ifname().
 */
import type { Match, MatchType } from './match.ts';

export interface InterfaceMatch extends Match {
  readonly kind: 'interface';
  readonly direction: 'in' | 'out';
  readonly negated: boolean;
  /** A name, or the beginning of one followed by `+`. */
  readonly patterns: readonly string[];
}

export function interfaceFits(pattern: string, name: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

export const networkInterface: MatchType<InterfaceMatch> = {
  kind: 'interface',
  test({ direction, negated, patterns }, packet) {
    const name = packet.interfaceName(direction);
    if (typeof name === 'object') return name;
    return patterns.some((pattern) => interfaceFits(pattern, name)) !== negated;
  },
  words({ direction, negated, patterns }) {
    const names = patterns.map((pattern) => (pattern.endsWith('+') ? `${pattern.slice(0, -1)}*` : pattern)).join(' or ');
    return `${direction === 'in' ? 'that came in' : 'that leave'} by ${negated ? 'any interface but ' : ''}${names}`;
  },
};
