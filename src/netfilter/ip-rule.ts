/**
 * The policy routing rules as `ip rule` prints them: `32764:  from all fwmark 0x539 lookup 133`.
 * Source: ip-rule(8).
 */
import { type Cidr, cidrContains, parseCidr, parseIp } from '../net/address.ts';
import { parseMark } from './mark.ts';

export interface IpRule {
  priority: number;
  negated: boolean;
  /** Absent: from all. */
  from?: string;
  to?: string;
  fwmark?: { value: number; mask: number };
  iif?: string;
  oif?: string;
  /** What it does: `lookup` a table, or `blackhole`, `unreachable`, `prohibit`, `goto`, `nop`. */
  action: string;
  /** Name or number of the table. */
  table?: string;
  /** Selectors that are not understood; the rule may then not apply although the rest fits. */
  other: string[];
}

/** Reads `ip rule` output, v4 or v6. Lines that are no rules are left out. At most 100,000 rules. */
export function parseIpRules(text: string): IpRule[] {
  const rules: IpRule[] = [];
  for (const line of text.split('\n')) {
    const m = /^\s*(\d{1,10}):\s*(.*)$/.exec(line);
    if (m === null || rules.length >= 100_000) continue;
    const rule: IpRule = { priority: Number(m[1]), negated: false, action: 'nop', other: [] };
    const words = m[2]!.trim().split(/\s+/);
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      const next = words[i + 1];
      if (word === 'not') rule.negated = true;
      else if (word === 'from' || word === 'to') {
        if (next !== undefined && next !== 'all') rule[word] = next;
        i++;
      } else if (word === 'fwmark' && next !== undefined) {
        const mark = parseMark(next);
        if (mark === undefined) rule.other.push(`fwmark ${next}`);
        else rule.fwmark = mark;
        i++;
      } else if ((word === 'iif' || word === 'oif') && next !== undefined) {
        rule[word] = next;
        i++;
      } else if ((word === 'lookup' || word === 'table') && next !== undefined) {
        rule.action = 'lookup';
        rule.table = next;
        i++;
      } else if (/^(?:blackhole|unreachable|prohibit|goto|nop)$/.test(word)) {
        rule.action = word;
        if (word === 'goto') i++;
      } else if (word === '[detached]' || word === 'proto' || word === 'protocol') {
        if (word !== '[detached]') i++;
      } else if (word !== '') rule.other.push(word);
    }
    rules.push(rule);
  }
  return rules.sort((a, b) => a.priority - b.priority);
}

/**
 * The rules that look at the mark and apply to this packet: the first such rule decides which table routes it, after `local`.
 *
 * @returns the first fwmark rule that applies; `undefined` when none does; `'unknown'` when one may
 */
export function ruleForMark(
  rules: readonly IpRule[],
  packet: { mark: number; source: string; destination: string; in?: string },
): IpRule | undefined | 'unknown' {
  for (const rule of rules) {
    if (rule.fwmark === undefined) continue;
    const byMark = ((packet.mark ^ rule.fwmark.value) & rule.fwmark.mask) === 0;
    const rest =
      within(rule.from, packet.source) && within(rule.to, packet.destination) && (rule.iif === undefined || rule.iif === packet.in);
    if ((byMark && rest) === rule.negated) continue;
    if (rule.other.length > 0 || rule.oif !== undefined) return 'unknown';
    return rule;
  }
  return undefined;
}

function within(block: string | undefined, address: string): boolean {
  if (block === undefined) return true;
  const cidr: Cidr | undefined = parseCidr(block);
  const ip = parseIp(address);
  return cidr !== undefined && ip !== undefined && cidrContains(cidr, ip);
}
