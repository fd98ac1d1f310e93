/**
 * A finding: something that goes wrong (or surprises), with the proof, in words that a newcomer understands, and what to do.
 *
 * Each rule is a file of this folder and knows one failure. It reports only what the recording proves; where the proof leaves a doubt the finding says so and weighs less, or is not made.
 */
import type { Subject } from '../annotate/subject.ts';
import type { TimeBase } from '../net/time.ts';
import type { FindingRecord, Leg, PathRecord } from '../record/record.ts';
import type { World } from '../world/world.ts';

/** One network namespace: what is known of it, and its connections in the order of their slots. */
export interface FindingNamespace {
  readonly world: World;
  readonly base: TimeBase;
  readonly subjects: readonly Subject[];
}

export interface FindingInput {
  readonly namespaces: readonly FindingNamespace[];
  readonly paths: readonly PathRecord[];
  /** The connection of a flow record. */
  subjectOf(flow: string): Subject | undefined;
  /** The paths that have this connection as a leg. */
  pathsThrough(flow: string): readonly PathRecord[];
}

export interface Finding {
  /** Its name in records and in docs/findings.md. */
  readonly rule: string;
  find(input: FindingInput): FindingRecord[];
}

export function makeFindingInput(namespaces: readonly FindingNamespace[], paths: readonly PathRecord[]): FindingInput {
  const subjects = new Map<string, Subject>();
  for (const namespace of namespaces) for (const subject of namespace.subjects) subjects.set(subject.record.id, subject);
  const through = new Map<string, PathRecord[]>();
  for (const path of paths)
    for (const { flow } of path.legs) {
      const list = through.get(flow);
      if (list === undefined) through.set(flow, [path]);
      else list.push(path);
    }
  return {
    namespaces,
    paths,
    subjectOf: (flow) => subjects.get(flow),
    pathsThrough: (flow) => through.get(flow) ?? [],
  };
}

export function plays(subject: Subject, ...roles: Leg[]): boolean {
  return subject.record.roles.some((role) => roles.includes(role));
}

/** All connections of all namespaces. */
export function* allSubjects(input: FindingInput): Generator<Subject> {
  for (const { subjects } of input.namespaces) yield* subjects;
}
