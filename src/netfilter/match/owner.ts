/**
 * `-m owner`, `meta skuid`: does the sending socket belong to this user or group?
 *
 * A packet without a socket has no owner: iptables then says yes only if every option is negated, nft says no to everything. Sockets of the kernel's own exist, but have no owner either.
 * "No owner" and "we do not know the owner" are different answers.
 * Source: iptables-extensions(8) "owner"; Linux net/netfilter/xt_owner.c owner_mt(), net/netfilter/nft_meta.c nft_meta_get_eval_skugid().
 */
import { inRanges, type NumberRange, parseNumberRange, rangeWords } from '../number-range.ts';
import type { Question } from '../truth.ts';
import type { IptablesMatch, Match, MatchType } from './match.ts';
import { optionText } from './match.ts';

export interface OwnerOption {
  readonly field: 'uid' | 'gid' | 'socket';
  readonly negated: boolean;
  /** Empty for `socket`. */
  readonly ranges: readonly NumberRange[];
}

export interface OwnerMatch extends Match {
  readonly kind: 'owner';
  /** All must hold. */
  readonly options: readonly OwnerOption[];
  /** What a packet without a socket gets: iptables looks at the negations, nft says no. */
  readonly withoutSocket: 'negated' | 'never';
}

function ownerless(options: readonly OwnerOption[], kernelSocket: boolean): boolean {
  return options.every(({ field, negated }) => (field === 'socket' && kernelSocket ? !negated : negated));
}

export const owner: MatchType<OwnerMatch> = {
  kind: 'owner',
  test({ options, withoutSocket }, packet) {
    let open: Question | undefined;
    for (const { field, negated, ranges } of options) {
      const id = packet.owner(field === 'gid' ? 'gid' : 'uid');
      if (typeof id === 'object') {
        open ??= id;
        continue;
      }
      if (id === 'none') return withoutSocket === 'negated' && ownerless(options, packet.query.owner === 'kernel');
      const fits = field === 'socket' ? true : inRanges(ranges, id);
      if (fits === negated) return false;
    }
    return open ?? true;
  },
  words({ options }) {
    return options
      .map(({ field, negated, ranges }) => {
        if (field === 'socket') return negated ? 'that no socket sent' : 'that a socket sent';
        return `${negated ? 'not ' : ''}sent by ${field === 'uid' ? 'user' : 'group'} ${rangeWords(ranges)}`;
      })
      .join(' and ');
  },
};

export const ownerOptions: IptablesMatch = {
  names: ['owner'],
  options: ['--uid-owner', '--gid-owner', '--socket-exists', '--suppl-groups', '--pid-owner', '--sid-owner', '--cmd-owner'],
  parse(options) {
    const parsed: OwnerOption[] = [];
    for (const { name, negated, values } of options) {
      if (name === '--socket-exists') parsed.push({ field: 'socket', negated, ranges: [] });
      else {
        const range = parseNumberRange(values[0] === 'root' ? '0' : (values[0] ?? ''), '-', 0xffffffff);
        if (range === undefined || (name !== '--uid-owner' && name !== '--gid-owner')) return undefined;
        parsed.push({ field: name === '--uid-owner' ? 'uid' : 'gid', negated, ranges: [range] });
      }
    }
    if (parsed.length === 0) return undefined;
    return [
      { kind: 'owner', options: parsed, withoutSocket: 'negated', text: options.map(optionText).join(' ') } satisfies OwnerMatch as Match,
    ];
  },
};
