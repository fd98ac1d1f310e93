/**
 * Matches as sets of values, for asking whether conditions can hold together.
 *
 * A literal says that one dimension of a packet (its protocol, a port, the user, …) lies in a set, or does not. Literals of different dimensions never contradict each other.
 * `consistent` may say yes where only a closer look would say no, never the other way round.
 */
import { type AddressBlock, blockCovers } from './address-block.ts';
import type { AddressMatch } from './match/address.ts';
import type { ConntrackMatch } from './match/conntrack.ts';
import type { FamilyMatch } from './match/family.ts';
import { type InterfaceMatch, interfaceFits } from './match/interface.ts';
import type { MarkMatch } from './match/mark.ts';
import type { Match } from './match/match.ts';
import type { OwnerMatch } from './match/owner.ts';
import type { PortsMatch } from './match/ports.ts';
import type { ProtocolMatch } from './match/protocol.ts';
import type { NumberRange } from './number-range.ts';

export type ValueSet =
  | { readonly of: 'numbers'; readonly ranges: readonly NumberRange[] }
  | { readonly of: 'names'; readonly names: readonly string[] }
  | { readonly of: 'interfaces'; readonly patterns: readonly string[] }
  | { readonly of: 'addresses'; readonly blocks: readonly AddressBlock[] }
  /** Nothing is known but whether it holds. */
  | { readonly of: 'truth' };

export interface Literal {
  readonly dimension: string;
  readonly set: ValueSet;
  readonly negated: boolean;
}

/** -1 is a packet without a socket: it belongs to no user. */
const NO_OWNER = -1;

export const negate = (literal: Literal): Literal => ({ ...literal, negated: !literal.negated });

/**
 * What a match says, as literals that must all hold.
 *
 * @param fresh names a dimension that no other match shares: for what may change from one rule to the next
 */
export function literalsOf(match: Match, fresh: (match: Match) => string): Literal[] {
  switch (match.kind) {
    case 'comment':
      return [];
    case 'protocol': {
      const { protocols, negated } = match as ProtocolMatch;
      return [{ dimension: 'protocol', set: { of: 'names', names: protocols }, negated }];
    }
    case 'family': {
      const { families, negated } = match as FamilyMatch;
      return [{ dimension: 'family', set: { of: 'names', names: families.map(String) }, negated }];
    }
    case 'address': {
      const { side, blocks, negated } = match as AddressMatch;
      const families = [...new Set(blocks.map(({ family }) => String(family)))];
      return [
        { dimension: 'family', set: { of: 'names', names: families }, negated: false },
        { dimension: side, set: { of: 'addresses', blocks }, negated },
      ];
    }
    case 'interface': {
      const { direction, patterns, negated } = match as InterfaceMatch;
      return [{ dimension: direction, set: { of: 'interfaces', patterns }, negated }];
    }
    case 'ports': {
      const { side, ranges, negated, protocols } = match as PortsMatch;
      const protocol: Literal = { dimension: 'protocol', set: { of: 'names', names: protocols }, negated: false };
      if (side === 'either') return [protocol, { dimension: fresh(match), set: { of: 'truth' }, negated: false }];
      return [protocol, { dimension: `${side} port`, set: { of: 'numbers', ranges }, negated }];
    }
    case 'owner':
      return ownerLiterals(match as OwnerMatch);
    case 'mark': {
      const { of, values, negated } = match as MarkMatch;
      const mask = values[0]?.mask;
      if (mask === undefined || values.some((value) => value.mask !== mask))
        return [{ dimension: fresh(match), set: { of: 'truth' }, negated: false }];
      const ranges = values.map(({ value }) => ({ low: value, high: value }));
      const mark: Literal = { dimension: `${fresh(match)} ${of}&${mask}`, set: { of: 'numbers', ranges }, negated };
      // Without a connection no connmark match holds, negated or not.
      return of === 'mark' ? [mark] : [{ dimension: 'connection', set: { of: 'truth' }, negated: false }, mark];
    }
    case 'conntrack': {
      const { test, negated } = match as ConntrackMatch;
      if (test.of !== 'state' || test.states.includes('SNAT') || test.states.includes('DNAT')) break;
      return [{ dimension: 'state', set: { of: 'names', names: test.states }, negated }];
    }
    default:
      break;
  }
  return [{ dimension: fresh(match), set: { of: 'truth' }, negated: false }];
}

/**
 * iptables: who has no socket is nobody, and so not that user either. nft: without a socket no owner match holds, negated or not, which is a condition of its own.
 */
function ownerLiterals({ options, withoutSocket }: OwnerMatch): Literal[] {
  const literals: Literal[] = [];
  if (withoutSocket === 'never') literals.push({ dimension: 'socket', set: { of: 'truth' }, negated: false });
  for (const { field, ranges, negated } of options) {
    if (field === 'socket')
      literals.push({ dimension: 'uid', set: { of: 'numbers', ranges: [{ low: NO_OWNER, high: NO_OWNER }] }, negated: !negated });
    else literals.push({ dimension: field, set: { of: 'numbers', ranges }, negated });
  }
  return literals;
}

/** Can all of them hold at once? `true` is also the answer to what is too hard to say. */
export function consistent(literals: readonly Literal[]): boolean {
  const byDimension = new Map<string, Literal[]>();
  for (const literal of literals) {
    const list = byDimension.get(literal.dimension);
    if (list === undefined) byDimension.set(literal.dimension, [literal]);
    else list.push(literal);
  }
  for (const list of byDimension.values()) if (!possible(list)) return false;
  return true;
}

function possible(literals: readonly Literal[]): boolean {
  switch (literals[0]!.set.of) {
    case 'numbers':
      return numbersLeft(literals);
    case 'names':
      return namesLeft(literals);
    case 'interfaces':
      return interfacesLeft(literals);
    case 'addresses':
      return addressesLeft(literals);
    default:
      return !(literals.some(({ negated }) => negated) && literals.some(({ negated }) => !negated));
  }
}

function numbersLeft(literals: readonly Literal[]): boolean {
  let left: NumberRange[] = [{ low: NO_OWNER, high: 0xffffffff }];
  for (const { set, negated } of literals) {
    if (set.of !== 'numbers') continue;
    if (negated) for (const cut of set.ranges) left = left.flatMap((range) => without(range, cut));
    else left = left.flatMap((range) => set.ranges.flatMap((other) => intersection(range, other)));
  }
  return left.length > 0;
}

function intersection(a: NumberRange, b: NumberRange): NumberRange[] {
  const low = Math.max(a.low, b.low);
  const high = Math.min(a.high, b.high);
  return low <= high ? [{ low, high }] : [];
}

function without(range: NumberRange, cut: NumberRange): NumberRange[] {
  if (cut.high < range.low || cut.low > range.high) return [range];
  const rest: NumberRange[] = [];
  if (cut.low > range.low) rest.push({ low: range.low, high: cut.low - 1 });
  if (cut.high < range.high) rest.push({ low: cut.high + 1, high: range.high });
  return rest;
}

const stateNames = ['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED'];
const domains: { readonly [dimension: string]: readonly string[] } = { family: ['4', '6'], state: stateNames };

function namesLeft(literals: readonly Literal[]): boolean {
  let left: readonly string[] | undefined = domains[literals[0]!.dimension];
  const excluded = new Set<string>();
  for (const { set, negated } of literals) {
    if (set.of !== 'names') continue;
    if (negated) for (const name of set.names) excluded.add(name);
    else left = left === undefined ? set.names : left.filter((name) => set.names.includes(name));
  }
  return left === undefined || left.some((name) => !excluded.has(name));
}

function interfacesLeft(literals: readonly Literal[]): boolean {
  const wanted = literals.filter(({ negated }) => !negated).map(({ set }) => (set.of === 'interfaces' ? set.patterns : []));
  const refused = literals.filter(({ negated }) => negated).flatMap(({ set }) => (set.of === 'interfaces' ? set.patterns : []));
  const [first, ...others] = wanted;
  if (first === undefined) return !refused.includes('+');
  return first.some((pattern) => {
    const stem = pattern.replace(/\+$/, '');
    const open = pattern.endsWith('+');
    if (refused.some((other) => (open ? other.endsWith('+') && stem.startsWith(other.slice(0, -1)) : interfaceFits(other, pattern))))
      return false;
    return others.every((list) =>
      list.some((other) =>
        open
          ? other.replace(/\+$/, '').startsWith(stem) || (other.endsWith('+') && stem.startsWith(other.slice(0, -1)))
          : interfaceFits(other, pattern),
      ),
    );
  });
}

function addressesLeft(literals: readonly Literal[]): boolean {
  const wanted = literals.filter(({ negated }) => !negated).map(({ set }) => (set.of === 'addresses' ? set.blocks : []));
  const refused = literals.filter(({ negated }) => negated).flatMap(({ set }) => (set.of === 'addresses' ? set.blocks : []));
  const [first, ...others] = wanted;
  if (first === undefined) return true;
  return first.some((block) => {
    let narrowest = block;
    for (const list of others) {
      const meets = list.find((other) => blockCovers(other, narrowest)) ?? list.find((other) => blockCovers(narrowest, other));
      // Blocks that only overlap in part, as ranges may: nothing is said.
      if (meets === undefined) return list.some((other) => 'low' in other || 'low' in narrowest || hasHoles(other) || hasHoles(narrowest));
      if (blockCovers(narrowest, meets)) narrowest = meets;
    }
    return !refused.some((other) => blockCovers(other, narrowest));
  });
}

function hasHoles(block: AddressBlock): boolean {
  if (!('mask' in block)) return false;
  const bits = block.mask.map((word) => (word >>> 0).toString(2).padStart(32, '0')).join('');
  return /01/.test(bits);
}
