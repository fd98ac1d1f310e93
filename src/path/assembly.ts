/** Makes the path records: the legs of each request, and of each connection that carries no request that could be read, in the order of travel over all namespaces. */
import type { Subject } from '../annotate/subject.ts';
import { idOf } from '../record/id.ts';
import type { PathJoin, PathLeg, PathRecord } from '../record/record.ts';
import type { Redaction } from '../record/redact.ts';
import { bareRequestPaths } from './bare-requests.ts';
import type { Counterparts } from './chain.ts';
import { isComplete, isOver, latencyOf, requestOf, spanOf } from './describe.ts';
import type { Hop } from './hop.ts';
import { Links } from './links.ts';
import { OpenEnds, openJoin } from './open-ends.ts';
import { tellParents } from './parents.ts';

export class Assembly {
  readonly #hops: readonly Hop[];
  readonly #subjects: readonly Subject[];
  readonly #counterparts: Counterparts;
  readonly #redaction: Redaction;
  readonly #links: Links;
  readonly #openEnds: OpenEnds;
  readonly #told = new Set<Subject>();
  readonly #openTold = new Set<Subject>();

  constructor(hops: readonly Hop[], subjects: readonly Subject[], counterparts: Counterparts, redaction: Redaction) {
    this.#hops = hops;
    this.#subjects = subjects;
    this.#counterparts = counterparts;
    this.#redaction = redaction;
    this.#links = new Links(hops, counterparts);
    this.#openEnds = new OpenEnds(hops);
  }

  records(): PathRecord[] {
    const records: PathRecord[] = [];
    const paths = new Map<Hop, string>();
    for (const hop of this.#hops) {
      const chain = this.#links.chainFrom(hop);
      if (chain === undefined) continue;
      const record = this.#record(chain);
      for (const part of chain) paths.set(part, record.id);
      const again = chain.findIndex((part, i) => i > 0 && part.down?.world === chain[i - 1]!.up?.world);
      if (again !== -1) records.push({ ...this.#record(chain.slice(again)), first: record.first, parent: record.id });
      records.push(record);
    }
    tellParents(this.#hops, records, paths);
    for (const subject of this.#subjects) {
      if (this.#told.has(subject) && (!this.#openEnds.has(subject) || this.#openTold.has(subject))) continue;
      const departure = this.#counterparts.departureOf(subject);
      if (departure !== undefined && !this.#told.has(departure.subject)) continue;
      records.push(...bareRequestPaths(this.#single(subject), subject, this.#redaction));
    }
    return records;
  }

  #record(chain: readonly Hop[]): PathRecord {
    const legs: Subject[] = [];
    const joins: PathJoin[] = [];
    const head = chain[0]!;
    if (head.down !== undefined) {
      const departure = this.#counterparts.departureOf(head.down);
      if (departure !== undefined) {
        legs.push(departure.subject, head.down);
        joins.push({ from: 0, to: 1, by: 'tuple', evidence: departure.evidence });
      } else legs.push(head.down);
    }
    for (const [i, hop] of chain.entries()) {
      if (i > 0 && hop.down !== undefined && legs.at(-1) !== hop.down) {
        const evidence = this.#counterparts.departureOf(hop.down)?.evidence ?? 'derived';
        legs.push(hop.down);
        joins.push({ from: legs.length - 2, to: legs.length - 1, by: 'tuple', evidence });
      }
      if (hop.up === undefined) {
        if (hop.join !== undefined && legs.length > 0) joins.push(openJoin(legs.length - 1, hop));
        continue;
      }
      const from = legs.length - 1;
      for (const attempt of hop.attempts ?? []) {
        if (legs.includes(attempt)) continue;
        legs.push(attempt);
        joins.push({ from, to: legs.length - 1, by: hop.join!.by, evidence: hop.join!.evidence });
      }
      if (hop.down === undefined) legs.push(hop.up);
      else if (!legs.includes(hop.up)) {
        legs.push(hop.up);
        joins.push({ from, to: legs.length - 1, by: hop.join!.by, evidence: hop.join!.evidence });
      }
      if (hop.down === undefined && hop.join !== undefined) joins.push(openJoin(legs.length - 1, hop));
    }
    const last = chain.at(-1)!;
    const arrival = last.up === undefined || legs.at(-1) !== last.up ? undefined : this.#counterparts.arrivalOf(last.up);
    if (arrival !== undefined && !legs.includes(arrival.subject)) {
      legs.push(arrival.subject);
      joins.push({ from: legs.length - 2, to: legs.length - 1, by: 'tuple', evidence: arrival.evidence });
    }
    for (const leg of legs) this.#told.add(leg);
    this.#openEnds.leaveOpen(legs, joins);
    return this.#make(chain, legs, joins);
  }

  #make(chain: readonly Hop[], legs: readonly Subject[], joins: PathJoin[]): PathRecord {
    const head = chain[0]!;
    const first = legs[0]!;
    const span = spanOf(chain, legs);
    const decisions = chain.flatMap((hop) => {
      const decision = hop.routed?.decision ?? hop.down?.connection?.decision;
      const subject = hop.down ?? hop.up!;
      return decision === undefined ? [] : [{ netns: subject.record.netns, decision }];
    });
    const request = head.of === 'request' ? requestOf(chain, this.#redaction) : undefined;
    const latency = latencyOf(chain, legs);
    const id = idOf(
      `${first.record.id} ${head.of} ${span.first} ${chain.map((hop) => `${hop.exchange?.index ?? ''}`).join(',')} ${head.up?.record.id ?? ''}`,
    );
    return {
      type: 'path',
      id,
      event: isOver(chain, legs) ? 'close' : 'update',
      of: head.of,
      first: span.first,
      last: span.last,
      complete: isComplete(chain, legs, joins),
      legs: legs.map(legOf),
      joins,
      ...(request === undefined ? {} : { request }),
      ...(decisions.length === 0 ? {} : { decisions }),
      ...(latency.length === 0 ? {} : { latency }),
    };
  }

  /** A connection that no proxy took part in, or of which nothing more is known; with the other end's view of it, where there is one. */
  #single(subject: Subject): PathRecord {
    const arrival = this.#counterparts.arrivalOf(subject);
    const legs = arrival === undefined || this.#told.has(arrival.subject) ? [subject] : [subject, arrival.subject];
    for (const leg of legs) this.#told.add(leg);
    this.#openTold.add(legs.at(-1)!);
    const joins: PathJoin[] = legs.length === 1 ? [] : [{ from: 0, to: 1, by: 'tuple', evidence: arrival!.evidence }];
    this.#openEnds.leaveOpen(legs, joins);
    const decisions = legs.flatMap((leg) =>
      leg.connection === undefined ? [] : [{ netns: leg.record.netns, decision: leg.record.envoy ?? leg.connection.decision }],
    );
    const unfinished = legs.some((leg) =>
      leg.record.roles.some(
        (role) =>
          role === 'unknown' ||
          role === 'client-to-proxy' ||
          role === 'app-to-proxy' ||
          role === 'proxy-to-upstream' ||
          role === 'proxy-to-app',
      ),
    );
    return {
      type: 'path',
      id: idOf(`${subject.record.id} single`),
      event: subject.flow.ended ? 'close' : 'update',
      of: 'connection',
      first: subject.record.first,
      last: subject.record.last,
      complete:
        !unfinished ||
        legs.some((leg) => leg.connection?.decision.outcome === 'no-chain' || leg.connection?.decision.outcome === 'no-listener'),
      legs: legs.map(legOf),
      joins,
      ...(decisions.length === 0 ? {} : { decisions }),
    };
  }
}

function legOf(subject: Subject): PathLeg {
  return { flow: subject.record.id, roles: subject.record.roles, node: subject.record.node, netns: subject.record.netns };
}
