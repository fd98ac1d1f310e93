/** Recordings of two nodes, replayed together and each node alone, as two daemons would tell them. */
import { join } from 'node:path';
import { formatTime, parseRfc3339, type TimeBase } from '../../src/net/time.ts';
import type { AnyRecord, PathRecord } from '../../src/record/record.ts';
import { PathJoiner } from '../../src/relay/path-joiner.ts';
import { replayed } from '../truth/replayed.ts';

export const twoNodes = ['bookinfo', 'failures', 'native-nft-tproxy', 'port-excluded', 'server-first', 'tproxy'] as const;

export interface Halves {
  readonly base: TimeBase;
  readonly whole: readonly PathRecord[];
  readonly a: readonly AnyRecord[];
  readonly b: readonly AnyRecord[];
}

const known = new Map<string, Halves>();

export function halvesOf(name: string): Halves {
  let halves = known.get(name);
  if (halves === undefined) {
    const folder = join('captures', name);
    const of = (node: string): AnyRecord[] =>
      replayed([join(folder, `${node}.tar.gz`)]).records.filter((record) => record.type === 'flow' || record.type === 'path');
    const { paths: whole, flows } = replayed([folder]);
    halves = { base: { epochSeconds: parseRfc3339(flows[0]!.first)!.seconds }, whole, a: of('node-a'), b: of('node-b') };
    known.set(name, halves);
  }
  return halves;
}

/** Milliseconds of a record's end since the base: when a daemon would tell it. */
export function toldMs(base: TimeBase, record: AnyRecord): number {
  if (record.type !== 'flow' && record.type !== 'path') return Number.POSITIVE_INFINITY;
  const text = record.type === 'flow' ? record.first : record.last;
  const at = parseRfc3339(text)!;
  return (at.seconds - base.epochSeconds) * 1e3 + at.nanoseconds / 1e6;
}

/** The record as a node would tell it whose clock is ahead by so many nanoseconds. */
export function shifted<R extends AnyRecord>(record: R, base: TimeBase, aheadNs: number): R {
  if (record.type === 'total' || record.type === 'finding') return record;
  const move = (text: string): string => {
    const at = parseRfc3339(text)!;
    return formatTime(base, (at.seconds - base.epochSeconds) * 1e9 + at.nanoseconds + aheadNs);
  };
  return { ...record, first: move(record.first), last: move(record.last) };
}

export interface Arrival {
  readonly record: AnyRecord;
  readonly atMs: number;
}

/** What comes out of the joiner, flows left out. */
export function joined(base: TimeBase, arrivals: readonly Arrival[], waitMs = 2000): { paths: PathRecord[]; joiner: PathJoiner } {
  const paths: PathRecord[] = [];
  const joiner = new PathJoiner({ base, waitMs }, (record) => {
    if (record.type === 'path') paths.push(record);
  });
  for (const { record, atMs } of [...arrivals].sort((left, right) => left.atMs - right.atMs)) {
    joiner.tick(atMs);
    joiner.write(record, atMs);
  }
  joiner.end();
  return { paths, joiner };
}

/** Legs and joins, which must be the same; where the request lies on a leg, one of two may know better. */
export function shape({ legs, joins }: PathRecord): string {
  return JSON.stringify([legs.map(({ seq: _, ...leg }) => leg), joins]);
}

/** Which flow follows which, over nodes: `flow > flow` of neighbouring legs on different nodes, with what lies behind. */
export function crossings({ legs, joins }: PathRecord): string[] {
  return joins
    .filter(({ from, to }) => from !== to && legs[from]!.node !== legs[to]!.node)
    .map(({ from, to }) => `${legs[from - 1]?.flow ?? ''} ${legs[from]!.flow} > ${legs[to]!.flow} ${legs[to + 1]?.flow ?? ''}`);
}
