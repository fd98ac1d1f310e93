/** Joins the halves of redirected connections that their packets did not: conntrack knows both tuples. */
import { readFlow } from '../flow/flow.ts';
import type { NamespaceFlows } from '../flow/namespace-flows.ts';
import { SLOT_WORDS, W_OTHER_HALF } from '../flow/slot.ts';
import { formatEndpoint, isLoopback } from '../net/address.ts';
import type { ConntrackView } from '../world/conntrack-view.ts';

/** A question half goes to loopback from elsewhere and has no answers; its answers are a one-way flow of the original tuple. @param slots among which the halves are looked for */
export function pairByConntrack(flows: NamespaceFlows, conntrack: ConntrackView, slots: Iterable<number> = allSlots(flows)): void {
  const { table, halves } = flows;
  const questions: number[] = [];
  const answers = new Map<string, number>();
  for (const slot of slots) {
    if (table.words[slot * SLOT_WORDS + W_OTHER_HALF] !== -1) continue;
    const flow = readFlow(table, slot);
    if (flow.packetsToDestination > 0 && flow.packetsToSource > 0) continue;
    const question = flow.packetsToDestination > 0 ? flow.destination : flow.source;
    const from = flow.packetsToDestination > 0 ? flow.source : flow.destination;
    if (isLoopback(question.ip) && !isLoopback(from.ip)) questions.push(slot);
    else if (!isLoopback(question.ip) && !isLoopback(from.ip))
      answers.set(`${flow.protocol} ${formatEndpoint(from.ip, from.port)} ${formatEndpoint(question.ip, question.port)}`, slot);
  }
  for (const slot of questions) {
    const flow = readFlow(table, slot);
    const wire =
      flow.packetsToDestination > 0
        ? { source: flow.source, destination: flow.destination }
        : { source: flow.destination, destination: flow.source };
    const entries = conntrack.byReply({ protocol: flow.protocol, ...wire });
    const keys = new Set(
      entries.map(
        ({ original }) =>
          `${flow.protocol} ${formatEndpoint(original.destination.ip, original.destination.port ?? 0)} ${formatEndpoint(original.source.ip, original.source.port ?? 0)}`,
      ),
    );
    if (keys.size !== 1) continue;
    const answer = answers.get([...keys][0]!);
    if (answer !== undefined) halves.join(slot, answer);
  }
}

function* allSlots({ table }: NamespaceFlows): Generator<number> {
  for (let slot = 0; slot < table.count; slot++) yield slot;
}
