/**
 * nft's statements to the parts of a rule. What has no counterpart becomes opaque: a condition where the statement only limits (`limit`, `quota`), else a target.
 * Source: nft(8) "STATEMENTS", libnftables-json(5).
 */
import { canonicalIp } from '../net/address.ts';
import type { MarkExpression } from './mark.ts';
import { constant } from './mark.ts';
import type { Match } from './match/match.ts';
import { opaqueMatch } from './match/opaque.ts';
import { formatExpression, formatStatement } from './nft-format.ts';
import { isObject, type Json, type JsonObject, number, onlyKey, text } from './nft-json.ts';
import { type FindSet, nftMatch } from './nft-match.ts';
import type { NumberRange } from './number-range.ts';
import { servicePort } from './protocol-names.ts';
import type { Part } from './rule-set.ts';
import type { CtTarget } from './target/ct.ts';
import type { JumpTarget } from './target/jump.ts';
import type { MarkTarget } from './target/mark.ts';
import type { NatTarget } from './target/nat.ts';
import { opaqueTarget } from './target/opaque.ts';
import type { RedirectTarget } from './target/redirect.ts';
import type { SideEffectTarget } from './target/side-effect.ts';
import type { Target } from './target/target.ts';
import type { TproxyTarget } from './target/tproxy.ts';
import type { VerdictTarget } from './target/verdict.ts';

const asTarget = (target: Target): Part => ({ part: 'target', target });
const asMatch = (match: Match): Part => ({ part: 'match', match });

const sideEffects = new Set([
  'log',
  'set',
  'map',
  'meter',
  'dup',
  'fwd',
  'flow',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'last',
  'reset',
]);

/** One statement of a rule. */
export function nftPart(statement: Json, findSet: FindSet): Part {
  const one = onlyKey(statement);
  const spelled = formatStatement(statement);
  if (one === undefined) return asTarget(opaqueTarget('nft', spelled));
  const { key, value } = one;
  switch (key) {
    case 'match':
      return asMatch(nftMatch(statement, findSet));
    case 'counter':
      return { part: 'counter' };
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'reject':
      return asTarget({
        kind: 'verdict',
        verdict: key.toUpperCase() as VerdictTarget['verdict'],
        text: spelled,
      } satisfies VerdictTarget as Target);
    case 'jump':
    case 'goto': {
      const chain = isObject(value) ? text(value.target) : undefined;
      return asTarget(
        chain === undefined
          ? opaqueTarget(key, spelled)
          : ({ kind: 'jump', how: key, chain, text: spelled } satisfies JumpTarget as Target),
      );
    }
    case 'redirect':
      return asTarget(redirect(value, spelled));
    case 'dnat':
    case 'snat':
    case 'masquerade':
      return asTarget(nat(key, value, spelled));
    case 'tproxy':
      return asTarget(tproxy(value, spelled));
    case 'mangle':
      return asTarget(mangle(value, spelled));
    case 'notrack':
      return asTarget({ kind: 'ct', dialect: 'nft', notrack: true, text: spelled } satisfies CtTarget as Target);
    case 'limit':
    case 'quota':
    case 'ct count':
      return asMatch(opaqueMatch(key === 'ct count' ? 'connlimit' : key, spelled));
    case 'xt':
      return xt(value, spelled);
    case 'unread':
      return asMatch(opaqueMatch('nft', spelled));
    default:
      if (sideEffects.has(key))
        return asTarget({ kind: 'side-effect', name: key.toUpperCase(), text: spelled } satisfies SideEffectTarget as Target);
      return asTarget(opaqueTarget(key, spelled));
  }
}

/** `xt` hides what iptables knows: only the name is told. */
function xt(value: Json, spelled: string): Part {
  const name = isObject(value) ? (text(value.name) ?? 'xt') : 'xt';
  if (isObject(value) && value.type === 'target') return asTarget(opaqueTarget(name, spelled));
  if (name === 'comment') return asMatch({ kind: 'comment', text: spelled, comment: '' } as Match);
  return asMatch(opaqueMatch(name, spelled));
}

function ports(value: Json | undefined): NumberRange | undefined | 'other' {
  if (value === undefined || value === null) return undefined;
  const whole = (end: Json | undefined) => (typeof end === 'string' ? (/^\d+$/.test(end) ? Number(end) : servicePort(end)) : number(end));
  const single = whole(value);
  if (single !== undefined) return { low: single, high: single };
  const range = onlyKey(value);
  if (range?.key !== 'range' || !Array.isArray(range.value)) return 'other';
  const [low, high] = range.value.map(whole);
  return low === undefined || high === undefined ? 'other' : { low, high };
}

function isRandom(value: Json): boolean {
  if (!isObject(value)) return false;
  const flags = Array.isArray(value.flags) ? value.flags : [value.flags ?? null];
  return flags.some((flag) => flag === 'random' || flag === 'fully-random');
}

function redirect(value: Json, spelled: string): Target {
  const range = isObject(value) ? ports(value.port) : undefined;
  if (range === 'other') return opaqueTarget('redirect', spelled);
  return {
    kind: 'redirect',
    random: isRandom(value),
    text: spelled,
    ...(range === undefined ? {} : { ports: range }),
  } satisfies RedirectTarget as Target;
}

function nat(key: 'dnat' | 'snat' | 'masquerade', value: Json, spelled: string): Target {
  const kind = key.toUpperCase() as NatTarget['nat'];
  const options: JsonObject = isObject(value) ? value : {};
  const range = ports(options.port);
  const ip = typeof options.addr === 'string' ? canonicalIp(options.addr) : undefined;
  const choice = (options.addr !== undefined && ip === undefined) || range === 'other' || isRandom(value);
  return {
    kind: 'nat',
    nat: kind,
    choice,
    text: spelled,
    ...(ip === undefined ? {} : { ip }),
    ...(range === undefined || range === 'other' ? {} : { ports: range }),
  } satisfies NatTarget as Target;
}

function tproxy(value: Json, spelled: string): Target {
  const options: JsonObject = isObject(value) ? value : {};
  const range = ports(options.port);
  const ip = typeof options.addr === 'string' ? canonicalIp(options.addr) : undefined;
  if (range === 'other' || (range !== undefined && range.low !== range.high) || (options.addr !== undefined && ip === undefined))
    return opaqueTarget('tproxy', spelled);
  return {
    kind: 'tproxy',
    dialect: 'nft',
    text: spelled,
    ...(ip === undefined ? {} : { ip }),
    ...(range === undefined ? {} : { port: range.low }),
  } satisfies TproxyTarget as Target;
}

function mangle(value: Json, spelled: string): Target {
  const key = isObject(value) ? onlyKey(value.key) : undefined;
  const what = isObject(key?.value) ? text(key.value.key) : undefined;
  const to = isObject(value) ? (value.value ?? null) : null;
  if (what === 'mark' && (key?.key === 'meta' || key?.key === 'ct'))
    return {
      kind: 'mark',
      of: key.key === 'meta' ? 'mark' : 'connmark',
      value: markExpression(to, 0),
      withoutConnection: 'break',
      text: spelled,
    } satisfies MarkTarget as Target;
  if (key?.key === 'ct' && what === 'zone') {
    const zone = number(to);
    const direction =
      isObject(key.value) && key.value.dir === 'reply'
        ? 'REPLY'
        : isObject(key.value) && key.value.dir === 'original'
          ? 'ORIGINAL'
          : undefined;
    if (zone === undefined) return opaqueTarget('ct zone', spelled);
    return {
      kind: 'ct',
      dialect: 'nft',
      notrack: false,
      zone,
      text: spelled,
      ...(direction === undefined ? {} : { direction }),
    } satisfies CtTarget as Target;
  }
  // Addresses and ports that a rule writes by hand are not followed.
  if (key?.key === 'payload' && /^(?:saddr|daddr|sport|dport)$/.test(String(isObject(key.value) ? key.value.field : '')))
    return opaqueTarget('payload', spelled);
  return { kind: 'side-effect', name: 'set', text: spelled } satisfies SideEffectTarget as Target;
}

const MAX_NESTING = 32;

function markExpression(value: Json, depth: number): MarkExpression {
  const unknown: MarkExpression = { op: 'unknown', text: formatExpression(value) };
  if (depth > MAX_NESTING) return unknown;
  if (typeof value === 'number' && value >= 0 && value <= 0xffffffff) return constant(value);
  if (typeof value === 'string') return /^(?:\d{1,10}|0x[\da-f]{1,8})$/i.test(value) ? constant(Number(value)) : unknown;
  const one = onlyKey(value);
  if (one === undefined) return unknown;
  if (isObject(one.value)) {
    if (one.value.key !== 'mark') return unknown;
    return one.key === 'meta' ? { op: 'mark' } : one.key === 'ct' ? { op: 'connmark' } : unknown;
  }
  if (!Array.isArray(one.value) || one.value.length < 2) return unknown;
  const [first, ...rest] = one.value.map((operand) => markExpression(operand, depth + 1));
  if (one.key === '&' || one.key === '|' || one.key === '^') {
    const { key } = one;
    return rest.reduce<MarkExpression>((left, right) => ({ op: key, left, right }), first!);
  }
  const by = rest[0];
  if ((one.key === '<<' || one.key === '>>') && rest.length === 1 && by?.op === 'constant')
    return { op: one.key, left: first!, bits: by.value };
  return unknown;
}
