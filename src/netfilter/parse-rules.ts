/**
 * Reads a rule file whose dialect is not known: iptables-save, iptables-restore input, `iptables -L`, `nft -j list ruleset`, `nft list ruleset`, `nft -f` input.
 */
import type { Family } from '../net/address.ts';
import { isListing } from './iptables-listing.ts';
import { parseIptables } from './parse-iptables.ts';
import { parseNft } from './parse-nft.ts';
import { type RuleSet, RulesSyntaxError } from './rule-set.ts';

/** Which dialect is it? `undefined` when it is none that is read here. */
export function rulesDialect(text: string): 'iptables' | 'nft' | undefined {
  if (/^\s*[{[]/.test(text)) return 'nft';
  if (isListing(text)) return 'iptables';
  for (const line of text.split('\n', 1000)) {
    const trimmed = line.trim();
    if (trimmed === '') continue;
    if (/^#.*ip6?tables(?:-nft|-legacy)?-save/.test(trimmed)) return 'iptables';
    if (trimmed.startsWith('#')) {
      if (/^#!.*\bnft\b/.test(trimmed)) return 'nft';
      continue;
    }
    if (/^\*\s*\w+$|^:\S+ (?:ACCEPT|DROP|-)|^(?:\[\d+:\d+\]\s*)?-[AINP]\s|\bip6?tables/.test(trimmed)) return 'iptables';
    if (
      /^(?:table|(?:add|insert|create|flush|delete|destroy) (?:table|chain|rule|set|map|element|ruleset)|define|include)(?:\s|$)/.test(
        trimmed,
      )
    )
      return 'nft';
    return undefined;
  }
  return undefined;
}

/**
 * @param family of an iptables text that does not tell; absent: 4
 * @throws {RulesSyntaxError} when it is no rule set, with what it looks like instead
 */
export function parseRules(text: string, family?: Family): RuleSet {
  const dialect = rulesDialect(text);
  if (dialect === 'nft') return parseNft(text);
  if (dialect === 'iptables') return parseIptables(text, family === undefined ? {} : { family });
  if (text.trim() === '')
    return { dialect: 'iptables', families: family === undefined ? [4, 6] : [family], tables: [], lossy: false, warnings: [] };
  const first = text.trimStart().split('\n', 1)[0]!.trim();
  throw new RulesSyntaxError(
    `Cannot read the rules: the file must hold iptables or nft rules, it ${looksLike(first) ?? `begins with ${JSON.stringify(first.slice(0, 60))}`}`,
  );
}

const others: readonly (readonly [RegExp, string])[] = [
  [/^create \S+ hash:/, 'is a list of ipset'],
  [/^(?:Status: (?:in)?active|\[ ?\d+\] )/, 'is a listing of ufw'],
  [/^(?:pass|block|scrub|set skip|rdr|nat on)\b/, 'is a rule file of pf'],
  [/^<\?xml/, 'is XML'],
  [/^apiVersion:/, 'is a Kubernetes manifest'],
  [/^(?:ipv4|ipv6|tcp|udp)\s+\d+\s/, 'is a conntrack table'],
  [/^(?:Netid|Proto)\s/, 'is a listing of sockets'],
];

function looksLike(line: string): string | undefined {
  return others.find(([pattern]) => pattern.test(line))?.[1];
}
