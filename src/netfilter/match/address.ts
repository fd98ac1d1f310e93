/**
 * `-s`, `-d`: is the source or destination address in one of the blocks? A rule of one family never matches packets of the other.
 * Source: iptables(8); Linux net/ipv4/netfilter/ip_tables.c ip_packet_match(); nft(8) "ip saddr".
 */
import { type AddressBlock, blockContains, blockWords } from '../address-block.ts';
import type { Side } from '../packet-state.ts';
import type { Match, MatchType } from './match.ts';

export interface AddressMatch extends Match {
  readonly kind: 'address';
  readonly side: Side;
  readonly negated: boolean;
  readonly blocks: readonly AddressBlock[];
}

export const address: MatchType<AddressMatch> = {
  kind: 'address',
  test({ side, negated, blocks }, packet) {
    if (!blocks.some((block) => block.family === packet.family)) return blocks.length === 0 ? negated : false;
    const ip = packet.address(side);
    if (ip === undefined)
      return packet.askTruth(`${side} in ${blocks.map((block) => block.text)} ${negated}`, `${side}.ip`, 'match-unknown');
    return blocks.some((block) => blockContains(block, ip)) !== negated;
  },
  words({ side, negated, blocks }) {
    return `${side === 'source' ? 'from' : 'to'} ${negated ? 'any address but ' : ''}${list(blocks.map(blockWords))}`;
  },
};

function list(words: readonly string[]): string {
  const shown = words.length > 8 ? [...words.slice(0, 7), `${words.length - 7} more`] : words;
  return shown.length < 2 ? shown.join('') : `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`;
}
