/** Tells findings as they are made: each once, and again when it was seen more often, at most once a minute. */
import { findAll } from '../../findings/findings.ts';
import type { TimeBase } from '../../net/time.ts';
import type { FindingRecord, PathRecord } from '../../record/record.ts';
import type { World } from '../../world/world.ts';
import type { LiveFlow } from './live-flow.ts';

/** A connection shows what is wrong with it when it ended, or after so long. */
const MATURE_NS = 5e9;
/** An ended one when its paths were told. */
const PATHS_TOLD_NS = 1.5e9;
/** Connections on which something came so long ago are looked at. */
const RECENT_NS = 8e9;
const AGAIN_NS = 60e9;
const TOLD_MAX = 4096;
/** Paths that findings may name. */
const PATHS_MAX = 10_000;

interface Told {
  atNs: number;
  proof: string;
}

export class FindingTeller {
  readonly #told = new Map<string, Told>();
  #paths: PathRecord[] = [];
  readonly #write: (record: FindingRecord) => void;

  constructor(write: (record: FindingRecord) => void) {
    this.#write = write;
  }

  /** A path was told: findings may name it. */
  addPath(path: PathRecord): void {
    this.#paths.push(path);
    if (this.#paths.length > 2 * PATHS_MAX) this.#paths = this.#paths.slice(-PATHS_MAX);
  }

  /** @param all connections are judged as they stand, whatever their age */
  look(
    namespaces: readonly { readonly world: World; readonly base: TimeBase; readonly flows: readonly LiveFlow[] }[],
    nowNs: number,
    all: boolean,
  ): void {
    const owners = new Map<string, LiveFlow>();
    const input = namespaces.map(({ world, base, flows }) => {
      const mature = flows.filter((live) => all || isMature(live, nowNs));
      for (const live of mature) {
        delete live.subject.record.findings;
        owners.set(live.subject.record.id, live);
      }
      return { world, base, subjects: mature.map(({ subject }) => subject) };
    });
    for (const finding of findAll(input, this.#paths.slice(-PATHS_MAX))) {
      for (const flow of finding.flows) owners.get(flow)?.findings.add(finding.id);
      const proof = finding.proof.join('\n');
      const told = this.#told.get(finding.id);
      if (told !== undefined && (told.proof === proof || (nowNs - told.atNs < AGAIN_NS && !all))) continue;
      if (told === undefined && this.#told.size >= TOLD_MAX)
        for (const oldest of this.#told.keys()) {
          this.#told.delete(oldest);
          break;
        }
      this.#told.delete(finding.id);
      this.#told.set(finding.id, { atNs: nowNs, proof });
      this.#write(finding);
    }
  }
}

function isMature({ subject, ended, touchedNs }: LiveFlow, nowNs: number): boolean {
  if (ended) return nowNs - touchedNs >= PATHS_TOLD_NS && nowNs - touchedNs < RECENT_NS;
  return nowNs - subject.flow.firstNs >= MATURE_NS && (nowNs - touchedNs < RECENT_NS || subject.flow.payloadToSource === false);
}
