/**
 * A pod that calls itself passes its proxy twice. Where the second pass could not be found among others, it still is one: it came in on the connection on which the first went on, and what the
 * proxy decided for it is known.
 */
import { requestFacts } from '../annotate/envoy.ts';
import { decideRequest } from '../envoy/request.ts';
import { idOf } from '../record/id.ts';
import type { Decision } from '../record/record.ts';
import type { Hop } from './hop.ts';
import type { FoundPath } from './paths.ts';

/** @param last the hop with which the whole ends @returns `undefined` where it does not end on a connection of the pod with itself */
export function unlinkedSecondPass(whole: FoundPath, last: Hop): FoundPath | undefined {
  const { up, down, exchange } = last;
  if (up === undefined || down?.world !== up.world || whole.legs.at(-1) !== up || !up.record.roles.includes('client-to-proxy'))
    return undefined;
  const from = whole.legs.length - 1;
  const decision = decided(last);
  const { latency: _latency, decisions: _decisions, ...record } = whole.record;
  return {
    record: {
      ...record,
      id: idOf(`${record.id} second`),
      parent: record.id,
      complete: false,
      legs: record.legs.slice(-1),
      joins: record.joins.filter((join) => join.from === from && join.to === from).map((join) => ({ ...join, from: 0, to: 0 })),
      ...(decision === undefined ? {} : { decisions: [{ netns: up.record.netns, decision }] }),
    },
    hops: [last],
    legs: [up],
    ...(exchange === undefined ? {} : { exchange }),
  };
}

function decided({ up, down, exchange }: Hop): Decision | undefined {
  const connection = up?.connection;
  const facts = exchange === undefined || down === undefined ? undefined : requestFacts(exchange, down.base, undefined);
  return connection === undefined || facts === undefined ? connection?.decision : decideRequest(connection, facts).decision;
}
