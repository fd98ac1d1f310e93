/**
 * The ports that rules send connections to, and what for: told from how a rule that redirects is reached.
 *
 * From OUTPUT it catches what the pod opens, unless the way there is for lo alone (a pod that calls itself: as if it came in) or for port 53 alone (DNS).
 * From PREROUTING it catches what comes in, unless the way there is for one interface alone (a virtual machine behind it: as if the pod opened it).
 */
import { isLoopback } from '../net/address.ts';
import type { InterfaceMatch } from './match/interface.ts';
import type { PortsMatch } from './match/ports.ts';
import type { Chain, Hook, Rule, RuleSet } from './rule-set.ts';
import type { JumpTarget } from './target/jump.ts';
import type { NatTarget } from './target/nat.ts';
import type { RedirectTarget } from './target/redirect.ts';
import type { TproxyTarget } from './target/tproxy.ts';

export interface CapturePorts {
  /** Where OUTPUT sends what the application opens (Istio: 15001). In the order found, each once. */
  readonly outbound: readonly number[];
  /** Where what comes in is sent (15006). */
  readonly inbound: readonly number[];
  /** Where DNS queries are sent (15053). */
  readonly dns: readonly number[];
}

interface Way {
  readonly hook: Hook;
  /** Some rule on the way wants the interface: lo at OUTPUT, any at PREROUTING. */
  readonly byInterface: boolean;
  /** Some rule on the way wants destination port 53. */
  readonly dns: boolean;
}

/** The port that a rule sends to on this host; `undefined` when it does not, or keeps the port. */
function sentTo(rule: Rule): number | undefined {
  for (const part of rule.parts) {
    if (part.part !== 'target') continue;
    const { target } = part;
    if (target.kind === 'redirect') return (target as RedirectTarget).ports?.low;
    if (target.kind === 'tproxy') return (target as TproxyTarget).port;
    if (target.kind === 'nat') {
      const { nat, ip, ports } = target as NatTarget;
      if (nat === 'DNAT' && ports !== undefined && (ip === undefined || isLoopback(ip))) return ports.low;
    }
  }
  return undefined;
}

function along(way: Way, rule: Rule): Way {
  let { byInterface, dns } = way;
  for (const match of rule.matches) {
    if (match.kind === 'interface') {
      const { direction, negated, patterns } = match as InterfaceMatch;
      if (!negated && direction === 'out' && way.hook === 'OUTPUT' && patterns.every((name) => name === 'lo')) byInterface = true;
      if (!negated && direction === 'in' && way.hook === 'PREROUTING') byInterface = true;
    } else if (match.kind === 'ports') {
      const { side, negated, ranges } = match as PortsMatch;
      if (side === 'destination' && !negated && ranges.every(({ low, high }) => low === 53 && high === 53)) dns = true;
    }
  }
  return byInterface === way.byInterface && dns === way.dns ? way : { ...way, byInterface, dns };
}

export function proxyPorts(ruleSets: readonly RuleSet[]): CapturePorts {
  const found = { outbound: new Set<number>(), inbound: new Set<number>(), dns: new Set<number>() };
  for (const ruleSet of ruleSets)
    for (const table of ruleSet.tables) {
      const byName = new Map(table.chains.map((chain) => [chain.name, chain]));
      for (const chain of table.chains)
        if (chain.hook === 'OUTPUT' || chain.hook === 'PREROUTING')
          follow(chain, { hook: chain.hook, byInterface: false, dns: false }, byName, found);
    }
  return { outbound: [...found.outbound], inbound: [...found.inbound], dns: [...found.dns] };
}

function follow(base: Chain, from: Way, byName: ReadonlyMap<string, Chain>, found: { [role in keyof CapturePorts]: Set<number> }): void {
  const seen = new Set<string>();
  const open: { chain: Chain; way: Way }[] = [{ chain: base, way: from }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { chain, way } = next;
    const key = `${chain.name} ${way.byInterface} ${way.dns}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const rule of chain.rules) {
      const here = along(way, rule);
      const port = sentTo(rule);
      if (port !== undefined) {
        const outward = (here.hook === 'OUTPUT') !== here.byInterface;
        found[here.dns ? 'dns' : outward ? 'outbound' : 'inbound'].add(port);
      }
      const target = rule.target?.kind === 'jump' ? byName.get((rule.target as JumpTarget).chain) : undefined;
      if (target !== undefined) open.push({ chain: target, way: here });
    }
  }
}
