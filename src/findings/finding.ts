/**
 * A finding: something that goes wrong (or surprises), with the proof, in words that a newcomer understands, and what to do.
 *
 * Each rule is a file of this folder and knows one failure. It reports only what the recording proves; where the proof leaves a doubt the finding says so and weighs less, or is not made.
 * Most recordings have nothing wrong in them: rules look at connections by role, and indexes are made when they are first asked for.
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

export interface IndexedNamespace extends FindingNamespace {
  /** Do its rules send connections to a proxy? */
  readonly captures: boolean;
  /** Connections that play one of these roles, each once, role by role. */
  playing(...roles: Leg[]): Generator<Subject>;
}

export interface FindingInput {
  readonly namespaces: readonly IndexedNamespace[];
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
  let subjects: Map<string, Subject> | undefined;
  let through: Map<string, PathRecord[]> | undefined;
  return {
    namespaces: namespaces.map(indexed),
    paths,
    subjectOf(flow) {
      subjects ??= new Map(namespaces.flatMap((namespace) => namespace.subjects.map((subject) => [subject.record.id, subject])));
      return subjects.get(flow);
    },
    pathsThrough(flow) {
      through ??= byLeg(paths);
      return through.get(flow) ?? [];
    },
  };
}

function indexed({ world, base, subjects }: FindingNamespace): IndexedNamespace {
  let byRole: Map<Leg, Subject[]> | undefined;
  return {
    world,
    base,
    subjects,
    captures: subjects[0]?.ports.captures === true,
    *playing(...roles) {
      byRole ??= rolesOf(subjects);
      for (const [i, role] of roles.entries())
        for (const subject of byRole.get(role) ?? [])
          if (i === 0 || !roles.slice(0, i).some((other) => subject.record.roles.includes(other))) yield subject;
    },
  };
}

function rolesOf(subjects: readonly Subject[]): Map<Leg, Subject[]> {
  const byRole = new Map<Leg, Subject[]>();
  for (const subject of subjects)
    for (const role of subject.record.roles) {
      const list = byRole.get(role);
      if (list === undefined) byRole.set(role, [subject]);
      else list.push(subject);
    }
  return byRole;
}

function byLeg(paths: readonly PathRecord[]): Map<string, PathRecord[]> {
  const through = new Map<string, PathRecord[]>();
  for (const path of paths)
    for (const { flow } of path.legs) {
      const list = through.get(flow);
      if (list === undefined) through.set(flow, [path]);
      else list.push(path);
    }
  return through;
}

export function plays({ record }: Subject, ...roles: Leg[]): boolean {
  return record.roles.some((role) => roles.includes(role));
}

/** Connections of all namespaces that play one of these roles. */
export function* playing(input: FindingInput, ...roles: Leg[]): Generator<Subject> {
  for (const namespace of input.namespaces) yield* namespace.playing(...roles);
}
