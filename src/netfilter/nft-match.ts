/**
 * nft's conditions to the model's matches. What has no counterpart becomes an opaque match with its text.
 *
 * `tcp dport` implies TCP and `ip daddr` implies IPv4, as nft's implicit dependencies do. Sets are what they held when the rules were read; one that packets fill is a question.
 * Source: nft(8), libnftables-json(5).
 */
import type { Family } from '../net/address.ts';
import { type AddressBlock, parseAddressBlock, parseAddressRange } from './address-block.ts';
import type { AddressMatch } from './match/address.ts';
import type { AddressTypeMatch } from './match/addrtype.ts';
import { type ConntrackMatch, stateTest } from './match/conntrack.ts';
import type { FamilyMatch } from './match/family.ts';
import { type IcmpMatch, icmpType } from './match/icmp.ts';
import type { InterfaceMatch } from './match/interface.ts';
import type { MarkMatch } from './match/mark.ts';
import type { Match } from './match/match.ts';
import { opaqueMatch } from './match/opaque.ts';
import type { OwnerMatch } from './match/owner.ts';
import { impliedProtocols, type PortsMatch } from './match/ports.ts';
import type { ProtocolMatch } from './match/protocol.ts';
import { parseTcpFlags, type TcpFlagsMatch } from './match/tcp.ts';
import { formatStatement } from './nft-format.ts';
import { isObject, type Json, number, onlyKey, text } from './nft-json.ts';
import type { NumberRange } from './number-range.ts';
import { isProtocol, protocolName, servicePort } from './protocol-names.ts';

/** The elements of a named set; `undefined` when it is not known, or when packets change it. */
export type FindSet = (name: string) => readonly Json[] | undefined;

interface Condition {
  readonly op: string;
  readonly negated: boolean;
  readonly right: Json;
  readonly text: string;
  readonly findSet: FindSet;
}

export function nftMatch(statement: Json, findSet: FindSet): Match {
  const match = onlyKey(statement);
  const spelled = formatStatement(statement);
  if (match?.key === 'match' && isObject(match.value)) {
    const { left, right } = match.value;
    const op = text(match.value.op) ?? '==';
    if (left !== undefined && right !== undefined) {
      const found = read(left, { op, negated: op === '!=', right, text: spelled, findSet });
      if (found !== undefined) return found;
    }
  }
  return opaqueMatch('nft', spelled);
}

function read(left: Json, condition: Condition): Match | undefined {
  const one = onlyKey(left);
  if (one === undefined) return undefined;
  if (one.key === '&' && Array.isArray(one.value)) return masked(one.value, condition);
  const inner = one.value;
  if (!isObject(inner)) return undefined;
  switch (one.key) {
    case 'payload':
      return payload(text(inner.protocol) ?? '', text(inner.field) ?? '', condition);
    case 'meta':
      return meta(text(inner.key) ?? '', condition);
    case 'ct':
      return ct(text(inner.key) ?? '', text(inner.dir), condition);
    case 'fib':
      return fib(inner.result, inner.flags, condition);
    default:
      return undefined;
  }
}

/** The values on the right, sets opened; `undefined` for what is no list of values. */
function values({ right, findSet, op }: Condition): readonly Json[] | undefined {
  if (op !== '==' && op !== '!=' && op !== 'in') return undefined;
  let list: readonly Json[] = [right];
  const one = onlyKey(right);
  if (typeof right === 'string' && right.startsWith('@')) {
    const elements = findSet(right.slice(1));
    if (elements === undefined) return undefined;
    list = elements;
  } else if (one?.key === 'set' && Array.isArray(one.value)) list = one.value;
  else if (Array.isArray(right)) list = right;
  return list.map((value) => {
    const element = onlyKey(value);
    return element?.key === 'elem' && isObject(element.value) ? (element.value.val ?? null) : value;
  });
}

function block(value: Json): AddressBlock | undefined {
  if (typeof value === 'string') return value.includes('-') ? parseAddressRange(value) : parseAddressBlock(value);
  const one = onlyKey(value);
  if (one?.key === 'prefix' && isObject(one.value)) return parseAddressBlock(`${text(one.value.addr)}/${number(one.value.len)}`);
  if (one?.key === 'range' && Array.isArray(one.value)) return parseAddressRange(one.value.map((end) => String(end)).join('-'));
  return undefined;
}

function all<T>(list: readonly Json[] | undefined, one: (value: Json) => T | undefined): T[] | undefined {
  if (list === undefined) return undefined;
  const found: T[] = [];
  for (const value of list) {
    const parsed = one(value);
    if (parsed === undefined) return undefined;
    found.push(parsed);
  }
  return found;
}

/** Numbers, ranges, names that `named` knows, and comparisons; not negated: that is left to the match. */
function ranges(
  condition: Condition,
  limit: number,
  named: (name: string) => number | undefined = () => undefined,
): NumberRange[] | undefined {
  const whole = (value: Json): number | undefined => {
    const found =
      typeof value === 'number'
        ? value
        : typeof value === 'string'
          ? /^(?:\d+|0x[\da-f]+)$/i.test(value)
            ? Number(value)
            : named(value)
          : undefined;
    return found !== undefined && found >= 0 && found <= limit ? found : undefined;
  };
  const { op, right } = condition;
  if (['<', '>', '<=', '>='].includes(op)) {
    const bound = whole(right);
    if (bound === undefined) return undefined;
    if (op === '<') return bound === 0 ? [] : [{ low: 0, high: bound - 1 }];
    if (op === '>') return bound === limit ? [] : [{ low: bound + 1, high: limit }];
    return op === '<=' ? [{ low: 0, high: bound }] : [{ low: bound, high: limit }];
  }
  return all(values(condition), (value) => {
    const range = onlyKey(value);
    if (range?.key === 'range' && Array.isArray(range.value)) {
      const low = whole(range.value[0] ?? null);
      const high = whole(range.value[1] ?? null);
      return low === undefined || high === undefined ? undefined : { low, high };
    }
    const single = whole(value);
    return single === undefined ? undefined : { low: single, high: single };
  });
}

function payload(protocol: string, field: string, condition: Condition): Match | undefined {
  const { negated, text: spelled } = condition;
  if ((protocol === 'ip' || protocol === 'ip6') && (field === 'saddr' || field === 'daddr')) {
    const family: Family = protocol === 'ip' ? 4 : 6;
    const blocks = all(values(condition), block);
    if (blocks === undefined || blocks.some((one) => one.family !== family)) return undefined;
    const side = field === 'saddr' ? 'source' : 'destination';
    // A rule that looks at an address of one family is for that family, whatever its set holds.
    if (blocks.length === 0)
      return { kind: 'family', negated: false, families: negated ? [family] : [], text: spelled } satisfies FamilyMatch as Match;
    return { kind: 'address', side, negated, blocks, text: spelled } satisfies AddressMatch as Match;
  }
  if ((protocol === 'ip' && field === 'protocol') || (protocol === 'ip6' && field === 'nexthdr')) return protocolMatch(condition);
  if (field === 'sport' || field === 'dport') {
    const found = ranges(condition, 65535, servicePort);
    if (found === undefined) return undefined;
    const side = field === 'sport' ? 'source' : 'destination';
    return {
      kind: 'ports',
      side,
      negated,
      ranges: found,
      protocols: impliedProtocols(protocol === 'th' ? undefined : protocol),
      text: spelled,
    } satisfies PortsMatch as Match;
  }
  if (protocol === 'tcp' && field === 'flags') return flags(0x3f, condition);
  if ((protocol === 'icmp' || protocol === 'icmpv6') && field === 'type') {
    const list = values(condition);
    const type = list?.length === 1 ? icmpType(protocol, String(list[0])) : undefined;
    return type === undefined ? undefined : ({ kind: 'icmp', protocol, negated, type, text: spelled } satisfies IcmpMatch as Match);
  }
  return undefined;
}

function flagBits(value: Json): number | undefined {
  if (typeof value === 'number') return value & 0x3f;
  if (typeof value === 'string') return parseTcpFlags(value);
  const one = onlyKey(value);
  const list = Array.isArray(value) ? value : one?.key === '|' && Array.isArray(one.value) ? one.value : undefined;
  const bits = all(list, flagBits);
  return bits?.reduce((sum, bit) => sum | bit, 0);
}

/** `tcp flags & (fin|syn|rst|ack) == syn`; `in` asks whether any of the flags is set. */
function flags(mask: number, { op, right, negated, text: spelled }: Condition): Match | undefined {
  const set = flagBits(right);
  if (set === undefined || (op !== '==' && op !== '!=' && op !== 'in')) return undefined;
  if (op !== 'in') return { kind: 'tcp-flags', negated, mask, set, text: spelled } satisfies TcpFlagsMatch as Match;
  return { kind: 'tcp-flags', negated: true, mask: set & mask, set: 0, text: spelled } satisfies TcpFlagsMatch as Match;
}

function masked([left, mask]: readonly Json[], condition: Condition): Match | undefined {
  const one = onlyKey(left);
  if (one === undefined || !isObject(one.value)) return undefined;
  if (one.key === 'payload' && one.value.protocol === 'tcp' && one.value.field === 'flags') {
    const bits = flagBits(mask ?? null);
    return bits === undefined ? undefined : flags(bits, condition);
  }
  if ((one.key === 'meta' || one.key === 'ct') && one.value.key === 'mark' && typeof mask === 'number')
    return markMatch(one.key === 'meta' ? 'mark' : 'connmark', mask, condition);
  return undefined;
}

function markMatch(of: MarkMatch['of'], mask: number, condition: Condition): Match | undefined {
  const found = all(values(condition), (value) => {
    const word =
      typeof value === 'number' ? value : typeof value === 'string' && /^(?:\d+|0x[\da-f]+)$/i.test(value) ? Number(value) : undefined;
    return word === undefined || word < 0 || word > 0xffffffff ? undefined : { value: word, mask: mask >>> 0 };
  });
  return found === undefined
    ? undefined
    : ({ kind: 'mark', of, negated: condition.negated, values: found, text: condition.text } satisfies MarkMatch as Match);
}

function protocolMatch(condition: Condition): Match | undefined {
  const protocols = all(values(condition), (value) => (isProtocol(String(value)) ? protocolName(String(value)) : undefined));
  return protocols === undefined
    ? undefined
    : ({ kind: 'protocol', negated: condition.negated, protocols, text: condition.text } satisfies ProtocolMatch as Match);
}

const familyNames: { readonly [name: string]: Family } = { ipv4: 4, ip: 4, ipv6: 6, ip6: 6 };

function meta(key: string, condition: Condition): Match | undefined {
  const { negated, text: spelled } = condition;
  switch (key) {
    case 'l4proto':
      return protocolMatch(condition);
    case 'nfproto':
    case 'protocol': {
      const families = all(values(condition), (value) =>
        Object.hasOwn(familyNames, String(value)) ? familyNames[String(value)] : undefined,
      );
      return families === undefined ? undefined : ({ kind: 'family', negated, families, text: spelled } satisfies FamilyMatch as Match);
    }
    case 'iifname':
    case 'oifname':
    case 'iif':
    case 'oif': {
      const patterns = all(values(condition), (value) => (typeof value === 'string' ? value.replace(/\*$/, '+') : undefined));
      const direction = key.startsWith('i') ? 'in' : 'out';
      return patterns === undefined
        ? undefined
        : ({ kind: 'interface', direction, negated, patterns, text: spelled } satisfies InterfaceMatch as Match);
    }
    case 'mark':
      return markMatch('mark', 0xffffffff, condition);
    case 'skuid':
    case 'skgid': {
      const found = ranges(condition, 0xffffffff, (name) => (name === 'root' ? 0 : undefined));
      if (found === undefined) return undefined;
      const options = [{ field: key === 'skuid' ? ('uid' as const) : ('gid' as const), negated, ranges: found }];
      return { kind: 'owner', options, withoutSocket: 'never', text: spelled } satisfies OwnerMatch as Match;
    }
    default:
      return undefined;
  }
}

function ct(key: string, direction: string | undefined, condition: Condition): Match | undefined {
  const { negated, text: spelled } = condition;
  if (key === 'mark') return markMatch('connmark', 0xffffffff, condition);
  if (key === 'state') {
    const names = all(values(condition), (value) => text(value));
    const test = names === undefined ? undefined : stateTest(names.join(','));
    return test === undefined ? undefined : ({ kind: 'conntrack', negated, test, text: spelled } satisfies ConntrackMatch as Match);
  }
  const plain = (test: ConntrackMatch['test']) => ({ kind: 'conntrack', negated, test, text: spelled }) satisfies ConntrackMatch as Match;
  if (key === 'direction' && typeof condition.right === 'string')
    return plain({ of: 'direction', direction: condition.right === 'reply' ? 'REPLY' : 'ORIGINAL' });
  if (direction === 'original' && (key === 'saddr' || key === 'daddr')) {
    const blocks = all(values(condition), block);
    return blocks === undefined ? undefined : plain({ of: 'address', side: key === 'saddr' ? 'source' : 'destination', blocks });
  }
  if (direction === 'original' && (key === 'proto-src' || key === 'proto-dst')) {
    const found = ranges(condition, 65535, servicePort);
    return found === undefined ? undefined : plain({ of: 'ports', side: key === 'proto-src' ? 'source' : 'destination', ranges: found });
  }
  return undefined;
}

function fib(result: Json | undefined, flagList: Json | undefined, condition: Condition): Match | undefined {
  const names = Array.isArray(flagList) ? flagList : [flagList ?? null];
  if (result !== 'type' || names.length !== 1 || (names[0] !== 'daddr' && names[0] !== 'saddr')) return undefined;
  const types = all(values(condition), (value) => text(value)?.toUpperCase());
  const side = names[0] === 'saddr' ? 'source' : 'destination';
  return types === undefined
    ? undefined
    : ({ kind: 'addrtype', side, negated: condition.negated, types, text: condition.text } satisfies AddressTypeMatch as Match);
}
