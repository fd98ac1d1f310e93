/**
 * Sends packets through a rule set that is loaded into the kernel, and compares what the kernel ran with what evaluate() says.
 */
import { canonicalIp, type Family } from '../../src/net/address.ts';
import { type Evaluation, evaluate } from '../../src/netfilter/evaluate.ts';
import { neverMatches } from '../../src/netfilter/never.ts';
import type { ConnectionState, PacketQuery } from '../../src/netfilter/packet-query.ts';
import type { RuleSet } from '../../src/netfilter/rule-set.ts';
import { ethernetFrame, ipPacket } from './frames.ts';
import type { KernelLab } from './kernel-lab.ts';
import { type Attempt, attempt, Chance, poolsOf } from './kernel-packets.ts';
import { parseRuns, type Run } from './kernel-runs.ts';

export interface Subject {
  readonly name: string;
  readonly family: Family;
  readonly load: (lab: KernelLab) => void;
  readonly read: (lab: KernelLab) => RuleSet[];
  readonly listener: boolean;
  /** Its rules do not change or drop the kernel's own answers, so that it is known where a connection stands after them. */
  readonly answersPass: boolean;
}

export interface Result {
  packets: number;
  decisions: number;
  unknown: number;
  ways: number;
  destinations: number;
  rules: number;
  never: number;
  wrong: string[];
}

/** One decision that the kernel must have taken: a tuple at a hook. */
interface Expected {
  readonly key: string;
  readonly query: PacketQuery;
  readonly evaluation: Evaluation;
  readonly attempt: Attempt;
}

interface End {
  ip: string;
  port: number;
}

const keyOf = (hook: string, protocol: number | string, source: End, destination: End, flags: number) =>
  `${hook} ${protocol} ${source.ip}#${source.port} > ${destination.ip}#${destination.port} ${flags}`;

/** With SIDETRACE_KERNEL_UNHIT set: the rules that no packet hit. */
export const unhit: string[] = [];
const numberOf = { tcp: 6, udp: 17 } as const;

/** Where each rule stands: chain and place by handle, and which base chain hangs where. */
function placesOf(json: string): { place: Map<string, { chain: string; index: number }>; hook: Map<string, string> } {
  const place = new Map<string, { chain: string; index: number }>();
  const hook = new Map<string, string>();
  const count = new Map<string, number>();
  for (const { rule, chain } of (
    JSON.parse(json) as { nftables: { rule?: Record<string, string | number>; chain?: Record<string, string | number> }[] }
  ).nftables) {
    if (chain?.hook !== undefined) hook.set(`${chain.family} ${chain.table} ${chain.name}`, String(chain.hook).toUpperCase());
    if (rule === undefined) continue;
    const where = `${rule.family} ${rule.table} ${rule.chain}`;
    const index = (count.get(where) ?? 0) + 1;
    count.set(where, index);
    place.set(`${where} ${rule.handle}`, { chain: String(rule.chain), index });
  }
  return { place, hook };
}

const stateOf = (flags: number, protocol: string): ConnectionState =>
  protocol === 'udp' || flags === 0x02 || flags === 0x10 || flags === 0x18 ? 'NEW' : 'INVALID';

/** What the kernel does with one attempt: the packet, then its way in over lo, then the answer. */
function expectations(sets: RuleSet[], sent: Attempt, listener: boolean): Expected[] {
  const { hook, protocol, source, destination, flags, owner, mark, link } = sent;
  const list: Expected[] = [];
  const judge = (query: PacketQuery, key: string): Evaluation => {
    const evaluation = evaluate(sets, query);
    list.push({ key, query, evaluation, attempt: sent });
    return evaluation;
  };
  const tcpFlags = protocol === 'tcp' ? flags : 0;
  const state = stateOf(flags, protocol);
  const local = link === 'lo' ? undefined : sent.family === 4 ? link.address4 : link.address6;
  const first = judge(
    {
      hook,
      protocol,
      source,
      destination,
      state,
      tcpFlags,
      transparentListener: listener,
      ...(hook === 'OUTPUT' ? { owner, mark, out: link === 'lo' ? 'lo' : link.name } : { in: link === 'lo' ? 'lo' : link.name }),
      ...(local === undefined ? {} : { localAddress: local }),
    },
    keyOf(hook, numberOf[protocol], source, destination, tcpFlags),
  );
  if (hook === 'PREROUTING' || first.verdict === 'DROP' || first.verdict === 'unknown') return list;
  const redirected = first.verdict === 'REDIRECT' || first.verdict === 'DNAT';
  if (link !== 'lo' && !redirected) return list;
  const to = { ip: first.to?.ip ?? destination.ip, port: first.to?.port ?? destination.port };
  judge(
    {
      hook: 'PREROUTING',
      protocol,
      source,
      destination: to,
      state: first.untracked === true ? 'UNTRACKED' : state,
      tcpFlags,
      in: 'lo',
      mark: first.mark,
      connmark: first.connmark,
      transparentListener: listener,
      ...(first.zone === undefined || first.zone === 'unknown' || state === 'INVALID' ? {} : { zone: first.zone }),
    },
    keyOf('PREROUTING lo', numberOf[protocol], source, to, tcpFlags),
  );
  return list;
}

/** Another zone has not heard of the connection: there the packet begins one (UDP), or belongs to none (anything of TCP but a SYN). */
function judgeLater(sets: RuleSet[], query: PacketQuery, first: Evaluation): Evaluation {
  const evaluation = evaluate(sets, query);
  if (evaluation.zone === first.zone) return evaluation;
  query.state = query.protocol === 'udp' || query.tcpFlags === 0x10 ? 'NEW' : 'INVALID';
  query.connmark = 0;
  return evaluate(sets, query);
}

const listening = new Set([15001, 15006, 15053]);

/** Later packets of the connection, where it stands after the first one: in the order in which they are to be sent. */
function laterPackets(sets: RuleSet[], sent: Attempt, first: Evaluation, { listener, answersPass }: Subject): Expected[] {
  const { hook, protocol, source, destination, flags, link, owner, mark } = sent;
  if (link === 'lo' || first.untracked === true || first.verdict === 'DROP' || (protocol === 'tcp' && flags !== 0x02)) return [];
  const local = sent.family === 4 ? link.address4 : link.address6;
  const list: Expected[] = [];
  const judge = (attempt: Attempt, connmark: number | 'unknown'): Evaluation => {
    const query: PacketQuery = {
      hook: attempt.hook,
      protocol,
      source: attempt.source,
      destination: attempt.destination,
      state: 'ESTABLISHED',
      connmark,
      tcpFlags: attempt.flags,
      transparentListener: listener,
      localAddress: local,
      ...(attempt.hook === 'OUTPUT' ? { owner, mark, out: link.name } : { in: link.name }),
    };
    const evaluation = judgeLater(sets, query, first);
    list.push({
      key: keyOf(attempt.hook, numberOf[protocol], attempt.source, attempt.destination, attempt.flags),
      query,
      evaluation,
      attempt,
    });
    return evaluation;
  };
  const ack = protocol === 'tcp' ? 0x10 : 0;
  if (hook === 'PREROUTING') {
    const served =
      (first.verdict === 'REDIRECT' || (first.verdict === 'TPROXY' && destination.ip === local)) && listening.has(first.to?.port ?? 0);
    // From such an address nothing is let in, whatever the rules say.
    if (protocol === 'tcp' && served && listener && answersPass && !/^(?:127\.|::)/.test(source.ip))
      judge({ ...sent, flags: ack }, first.connmark);
    return list;
  }
  if (first.verdict !== 'ACCEPT' || protocol !== 'udp') return list;
  const back = judge(
    { ...sent, hook: 'PREROUTING', source: destination, destination: source, flags: protocol === 'udp' ? 0 : 0x12, mark: 0 },
    first.connmark,
  );
  if (answersPass && list[0]!.query.state === 'ESTABLISHED' && back.untracked === undefined && back.verdict !== 'DROP')
    judge({ ...sent, flags: ack }, back.connmark);
  return list;
}

/** The kernel's own answer to a packet that arrived here: an RST comes from a socket of the kernel's own, a SYN/ACK is the listener's (root's). */
function answerOf(
  sets: RuleSet[],
  sent: Attempt,
  listener: boolean,
  evaluations: readonly Evaluation[],
  run: Run,
  out: string,
): Expected | undefined {
  const first = evaluations[0]!;
  const last = evaluations.at(-1)!;
  if (sent.protocol !== 'tcp' || sent.flags !== 0x02 || run.protocol !== 6) return undefined;
  if (first.verdict === 'unknown' || last.verdict === 'unknown' || last.verdict === 'DROP') return undefined;
  const synAck = run.tcpFlags === 0x12;
  if (!synAck && run.tcpFlags !== 0x14) return undefined;
  const query: PacketQuery = {
    hook: 'OUTPUT',
    protocol: 'tcp',
    source: run.source,
    destination: run.destination,
    state: 'ESTABLISHED',
    tcpFlags: run.tcpFlags,
    // Of IPv6, an RST leaves without any socket.
    owner: synAck ? { uid: 0, gid: 0 } : sent.family === 4 ? 'kernel' : 'none',
    out,
    connmark: last.connmark,
    transparentListener: listener,
  };
  if (first.untracked === true) return undefined;
  return { key: '', query, evaluation: judgeLater(sets, query, first), attempt: sent };
}

/** nft rules that count, then read a connection's mark: without a connection they end there, and leave no trace although their counter has risen. */
function withoutTrace(sets: readonly RuleSet[]): Set<string> {
  const found = new Set<string>();
  for (const { dialect, tables } of sets)
    for (const table of tables)
      for (const chain of table.chains)
        for (const rule of chain.rules)
          if (dialect === 'nft' && /counter (?:ct mark set ct mark|meta mark set ct mark)/.test(rule.text))
            found.add(`${table.name} ${chain.name} ${rule.index}`);
  return found;
}

function commandFor(one: Attempt): string {
  const packet = ipPacket(one);
  if (one.hook === 'OUTPUT' || one.link === 'lo')
    return `O ${one.family} ${one.owner.uid} ${one.owner.gid} ${one.mark} ${packet.toString('hex')}`;
  return `P ${one.link.peer} ${ethernetFrame(packet, one.link.peerMac, one.link.mac).toString('hex')}`;
}

/** @param hit collects the rules that the kernel ran */
export function ask(kernel: KernelLab, subject: Subject, packets: number, seed: number, number: number, hit: Set<string>): Result {
  const result: Result = { packets: 0, decisions: 0, unknown: 0, ways: 0, destinations: 0, rules: 0, never: 0, wrong: [] };
  const chance = new Chance(seed + number);
  kernel.clear();
  subject.load(kernel);
  const sets = subject.read(kernel);
  kernel.traceAll();
  const { place, hook } = placesOf(kernel.run('nft', '-j', 'list', 'ruleset'));
  const countsOnly = withoutTrace(sets);
  const pools = poolsOf(sets, subject.family, chance);
  const commands: string[] = subject.listener ? ['T 15001', 'T 15006', 'T 15053'] : [];
  const sent: { attempt: Attempt; expected: Expected[] }[] = [];
  const used = new Set<string>();
  for (let i = 0; sent.length < packets && i < packets * 4; i++) {
    const one = attempt(pools, subject.family, chance, 1024 + ((i * 7 + number) % 60_000));
    const { source, destination, protocol } = one;
    const tuple = `${protocol} ${source.ip}#${source.port} ${destination.ip}#${destination.port}`;
    const back = `${protocol} ${destination.ip}#${destination.port} ${source.ip}#${source.port}`;
    // A port that rules name may be the source of somebody's answer.
    if (used.has(tuple) || used.has(back) || (source.port > 1023 && source.port !== 15053 && pools.ports.includes(source.port))) continue;
    const expected = expectations(sets, one, subject.listener);
    used.add(tuple);
    const redirected = expected[0]!.evaluation;
    // Two connections to one port from one address and port: the kernel moves the second one's port, which the trace cannot be matched by.
    if (redirected.to?.port !== undefined && redirected.verdict !== 'TPROXY') {
      const collision = `${protocol} ${source.ip}#${source.port} to ${redirected.to.port}`;
      if (used.has(collision)) continue;
      used.add(collision);
      // What comes from there to here is its answer.
      used.add(`${protocol} ${redirected.to.ip}#${redirected.to.port} ${source.ip}#${source.port}`);
    }
    commands.push(commandFor(one));
    sent.push({ attempt: one, expected });
    if (chance.next() > 0.4) continue;
    for (const later of laterPackets(sets, one, redirected, subject)) {
      commands.push(commandFor(later.attempt));
      sent.push({ attempt: later.attempt, expected: [later] });
    }
  }
  /** By tuple and hook: once for each time that it came by. */
  const runs = new Map<string, { seen: Run; of: Run[] }[]>();
  const arrivals = new Map<string, Run[]>();
  const interfaces = kernel.interfaces();
  const loIndex = 1;
  const current = new Map<string, Run[]>();
  for (const run of parseRuns(kernel.trace(commands))) {
    const familyName = [`inet ${run.table} ${run.chain}`, `${run.family === 4 ? 'ip' : 'ip6'} ${run.table} ${run.chain}`].find((name) =>
      hook.has(name),
    );
    const at = familyName === undefined ? undefined : hook.get(familyName);
    if (at === undefined) continue;
    if (run.table !== 'stnf-trace') {
      current.get(`${at} ${run.id}`)?.push(run);
      continue;
    }
    const sender = `${run.protocol} ${run.source.ip}#${run.source.port}`;
    if (at === 'INPUT') arrivals.set(sender, [...(arrivals.get(sender) ?? []), run]);
    else {
      const key = keyOf(
        at === 'PREROUTING' && run.in === loIndex ? 'PREROUTING lo' : at,
        run.protocol,
        run.source,
        run.destination,
        run.tcpFlags,
      );
      const of: Run[] = [];
      runs.set(key, [...(runs.get(key) ?? []), { seen: run, of }]);
      current.set(`${at} ${run.id}`, of);
    }
  }
  const compare = ({ query, evaluation, attempt: one }: Expected, key: string, time: number) => {
    const kernelSteps: string[] = [];
    const mine = runs.get(key)?.[time]?.of ?? [];
    for (const run of mine)
      for (const { chain, handle } of run.rules) {
        const family = place.has(`inet ${run.table} ${chain} ${handle}`) ? 'inet' : run.family === 4 ? 'ip' : 'ip6';
        const index = place.get(`${family} ${run.table} ${chain} ${handle}`)?.index;
        kernelSteps.push(`${run.table} ${chain} ${index}`);
        hit.add(`${subject.name} ${run.table} ${chain} ${index}`);
      }
    result.decisions++;
    if (evaluation.verdict === 'unknown') {
      // A packet that was not to be tracked, and then is: what conntrack makes of the middle of a connection is not told by the packet.
      if (query.state !== 'UNTRACKED') result.unknown++;
      return;
    }
    const said = evaluation.steps
      .map((step) => `${step.table} ${step.chain} ${step.index}`)
      .filter((step) => !(query.state === 'INVALID' && countsOnly.has(step)));
    const last = mine.at(-1);
    const dropped = last !== undefined && (last.verdict & 0xff) === 0;
    if (said.join() !== kernelSteps.join() || (last !== undefined && dropped !== (evaluation.verdict === 'DROP')))
      result.wrong.push(
        `${subject.name}: ${JSON.stringify(query)} of ${JSON.stringify({ flags: one.flags, hook: one.hook })}: kernel ${kernelSteps.join(', ')}${dropped ? ' DROP' : ''}; said ${said.join(', ')} ${evaluation.verdict}`,
      );
  };
  const times = new Map<string, number>();
  const senders = new Map<string, number>();
  for (const { attempt: one } of sent) {
    const sender = `${numberOf[one.protocol]} ${one.source.ip}#${one.source.port}`;
    senders.set(sender, (senders.get(sender) ?? 0) + 1);
  }
  for (const { attempt: one, expected } of sent) {
    result.packets++;
    const evaluations: Evaluation[] = [];
    for (const each of expected) {
      const time = times.get(each.key) ?? 0;
      if (runs.get(each.key)?.[time] === undefined) {
        result.ways++;
        break;
      }
      times.set(each.key, time + 1);
      compare(each, each.key, time);
      evaluations.push(each.evaluation);
    }
    const first = expected[0]!.evaluation;
    if (evaluations.length === 0) continue;
    const sender = `${numberOf[one.protocol]} ${one.source.ip}#${one.source.port}`;
    const arrived =
      senders.get(sender) === 1 ? (arrivals.get(sender) ?? []).map(({ destination }) => `${destination.ip} ${destination.port}`) : [];
    if (arrived.length > 0 && first.verdict === 'REDIRECT') {
      result.destinations++;
      const predicted = `${canonicalIp(first.to?.ip ?? '') ?? ''} ${first.to?.port}`;
      // Somebody else's answer may come from the same port.
      if (!arrived.includes(predicted))
        result.wrong.push(`${subject.name}: ${JSON.stringify(expected[0]!.query)} arrives at ${arrived.join(', ')}, said ${predicted}`);
    }
    // Answers leave from where the packet arrived: the translated tuple, turned round.
    const last = evaluations.at(-1)!;
    const sentOn = last.verdict === 'REDIRECT' || last.verdict === 'DNAT' ? last : first;
    const end = { ip: sentOn.to?.ip ?? one.destination.ip, port: sentOn.to?.port ?? one.destination.port };
    const from = first.verdict === 'TPROXY' || last.verdict === 'TPROXY' ? one.destination : end;
    for (const flags of [0x12, 0x14]) {
      const key = keyOf('OUTPUT', 6, from, one.source, flags);
      const seen = runs.get(key)?.[0]?.seen;
      if (seen === undefined) continue;
      // Which way an answer leaves is the routing's business: the kernel says it.
      const out = interfaces.get(seen.out);
      const answer = out === undefined ? undefined : answerOf(sets, one, subject.listener, evaluations, seen, out);
      if (answer !== undefined) compare(answer, key, 0);
    }
  }
  for (const set of sets)
    for (const table of set.tables)
      for (const chain of table.chains)
        for (const rule of chain.rules) {
          result.rules++;
          if (process.env.SIDETRACE_KERNEL_UNHIT && !hit.has(`${subject.name} ${table.name} ${chain.name} ${rule.index}`))
            unhit.push(`${subject.name} ${table.name} ${chain.name} ${rule.index} ${rule.text}`);
        }
  for (const { rule } of sets.flatMap(neverMatches)) {
    result.never++;
    const place = `${subject.name} ${rule.table} ${rule.chain} ${rule.index}`;
    if (hit.has(place)) result.wrong.push(`${place}: the kernel ran "${rule.text}", which neverMatches() says cannot be`);
  }
  return result;
}
