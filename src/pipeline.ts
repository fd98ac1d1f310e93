/**
 * Recordings in, records out: the only file that sees all parts.
 *
 * Each network namespace is read on its own; then its connections are judged; then the connections of all namespaces are joined to paths. Everything between the frames and the
 * records is a plain synchronous function of its input, so the same input gives the same records in the same order.
 */
import { statSync } from 'node:fs';
import { type AnnotateContext, annotate } from './annotate/annotate.ts';
import { pairByConntrack } from './annotate/halves.ts';
import { addressesSeen } from './annotate/local.ts';
import { PlainAnnotator } from './annotate/plain.ts';
import { findProxyPorts } from './annotate/proxy-ports.ts';
import { RuleJudge } from './annotate/rule.ts';
import type { Subject } from './annotate/subject.ts';
import type { FindingNamespace } from './findings/finding.ts';
import { findAll } from './findings/findings.ts';
import { isAnswerHalf, readFlow } from './flow/flow.ts';
import { NamespaceFlows } from './flow/namespace-flows.ts';
import { readPlain } from './flow/plain.ts';
import { SLOT_WORDS, W_INTERFACE } from './flow/slot.ts';
import { KubeNames } from './kube/names.ts';
import { type KubeObjects, parseKubeObjects } from './kube/objects.ts';
import { parseRfc3339 } from './net/time.ts';
import { findPaths } from './path/paths.ts';
import { addLoss, type LastLosses } from './record/lost.ts';
import { PlainFlow } from './record/plain-flow.ts';
import type { AnyRecord, FindingRecord, FlowRecord, LostRecord, PathRecord } from './record/record.ts';
import { noRedaction, redaction } from './record/redact.ts';
import { Tally } from './record/tally.ts';
import { type Bundle, snapshotsOf } from './source/bundle.ts';
import type { NamespaceEntry } from './source/bundle-manifest.ts';
import { CaptureFileError } from './source/capture-file-error.ts';
import { type Input, openInput } from './source/input.ts';
import { MergedSource } from './source/merge.ts';
import { expandRecording } from './source/recording.ts';
import type { FrameSource, SourceLoss } from './source/source.ts';
import { SourceBase } from './source/source-base.ts';
import { readWholeFile } from './source/whole-bytes.ts';
import { ConfigRoom, RecordedWorld, readingLimit, snapshotFile, type WorldFile } from './world/build.ts';

export interface InputFile {
  readonly kind: string;
  readonly path: string;
}

export interface ReplayInputs {
  /** Bundles, folders of bundles, archives, captures, `-`. */
  readonly captures: readonly string[];
  /** A source that is open already, beside the captures. */
  readonly source?: FrameSource;
  /** What is known of the namespace of a bare capture, or in place of what a bundle holds. */
  readonly files: readonly InputFile[];
  /** Hide credentials and queries. */
  readonly redact: boolean;
  /** Read requests also where nothing tells of a proxy. */
  readonly requests?: boolean;
}

export interface ReplayProgress {
  readonly bytesRead: number;
  /** 0 when nobody knows. */
  readonly bytesTotal: number;
}

export interface ReplayEnd {
  readonly malformed: boolean;
  readonly lost: boolean;
  readonly interrupted: boolean;
}

/** A network namespace to be read: where its frames come from, and what else is known of it. */
interface Namespace {
  readonly sources: () => FrameSource[];
  readonly world: (names: KubeNames, seen: Iterable<string>) => RecordedWorld;
  /** Was anything but packets recorded? */
  readonly isKnown: boolean;
  readonly node: string;
  readonly netns: string;
  readonly fileInterfaces: (sources: readonly FrameSource[], id: number) => string | undefined;
}

const KUBE_KINDS: ReadonlySet<string> = new Set(['pods', 'services', 'endpointslices']);
const FAMILY_OF: { readonly [kind: string]: 'ipv4' | 'ipv6' } = {
  'iptables-save': 'ipv4',
  'iptables-legacy-save': 'ipv4',
  'ip6tables-save': 'ipv6',
  'ip6tables-legacy-save': 'ipv6',
};
/** Beyond so many files of packets of one namespace, their blocks share so much memory. */
const MANY_FILES = 32;
const BLOCKS_LENGTH = 16 * 1024 * 1024;
const SMALLEST_BLOCK = 16 * 1024;
const LINUX_COOKED: ReadonlySet<number> = new Set([113, 276]);

/**
 * Replays recordings. Yields between pieces of work; `next(true)` asks it to stop reading and to come to its end with what it has.
 *
 * @param write takes the records in order: flows and paths by their first packet, then findings, then what was lost, then one total
 * @param writePlain takes those flows of which only packets are known, in place of `write`: the object is filled anew for each
 * @throws {CaptureFileError} when no input can be opened at all
 */
export function* replay(
  inputs: ReplayInputs,
  write: (record: AnyRecord) => void,
  writePlain?: (flow: PlainFlow) => void,
): Generator<ReplayProgress, ReplayEnd, boolean | undefined> {
  const run = new Run(inputs, write, writePlain);
  return yield* run.replay();
}

class Run {
  readonly #inputs: ReplayInputs;
  readonly #write: (record: AnyRecord) => void;
  readonly #writePlain: ((flow: PlainFlow) => void) | undefined;
  readonly #base: SourceBase;
  readonly #room = new ConfigRoom();
  readonly #tally = new Tally();
  readonly #losses: LostRecord[] = [];
  /** The last of each source in each scope. */
  readonly #lastLosses: LastLosses = new Map();
  readonly #kube: KubeObjects[] = [];
  readonly #bundles: Bundle[] = [];
  /** Namespaces of which more is known than their packets. */
  readonly #known: FindingNamespace[] = [];
  /** Inputs that were told to be of no use. */
  readonly #refused = new Set<string>();
  #malformed = false;
  #stopped = false;
  #bytesTotal = 0;

  constructor(inputs: ReplayInputs, write: (record: AnyRecord) => void, writePlain: ((flow: PlainFlow) => void) | undefined) {
    this.#inputs = inputs;
    this.#base = SourceBase.of(inputs.source?.base ?? new SourceBase());
    this.#write = write;
    this.#writePlain = writePlain;
  }

  *replay(): Generator<ReplayProgress, ReplayEnd, boolean | undefined> {
    const namespaces = this.#open();
    const names = new KubeNames(...this.#kube);
    const joined: Subject[][] = [];
    try {
      for (const namespace of namespaces) {
        const found = yield* this.#read(namespace, names);
        if (found !== undefined) joined.push(found);
        if (this.#stopped) break;
      }
      this.#finish(joined);
    } finally {
      for (const bundle of this.#bundles) bundle.close();
    }
    return { malformed: this.#malformed, lost: this.#losses.some(({ count }) => count > 0), interrupted: this.#stopped };
  }

  /** Opens all inputs. Bare captures are taken together as one namespace. */
  #open(): Namespace[] {
    const namespaces: Namespace[] = [];
    const bare: FrameSource[] = [];
    const failures: CaptureFileError[] = [];
    const given = this.#givenFiles();
    if (this.#inputs.source !== undefined) bare.push(this.#inputs.source);
    for (const path of this.#inputs.captures.flatMap(expandRecording)) {
      if (path !== '-') this.#bytesTotal += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      const input = this.#openInput(path, failures);
      if (input === undefined) continue;
      if (input.kind === 'capture') {
        bare.push(input.source);
        continue;
      }
      const { bundle } = input;
      this.#bundles.push(bundle);
      const begun = bundle.manifest.begun === undefined ? undefined : parseRfc3339(bundle.manifest.begun);
      // An hour before: readings and connections may be older than the recording's begin.
      if (begun !== undefined) this.#base.fix(begun.seconds - 3600);
      for (const { name, bytes } of bundle.kubeFiles()) this.#addKube(bytes, `${bundle.name}/${name}`);
      for (const entry of bundle.manifest.namespaces) namespaces.push(this.#recorded(bundle, entry, given));
    }
    const [failure] = failures;
    if (failure !== undefined && bare.length === 0 && this.#bundles.length === 0) throw failure;
    for (const { path, message } of failures) this.#refuse(path, message);
    if (bare.length > 0) namespaces.push(this.#bare(bare.length === 1 ? bare[0]! : new MergedSource(bare), given));
    return namespaces;
  }

  /** One that cannot be opened does not keep the others from being read. */
  #openInput(path: string, failures: CaptureFileError[]): Input | undefined {
    try {
      return openInput(path, { base: this.#base });
    } catch (error) {
      if (!(error instanceof CaptureFileError)) throw error;
      failures.push(error);
      return undefined;
    }
  }

  #givenFiles(): WorldFile[] {
    const files: WorldFile[] = [];
    for (const { kind, path } of this.#inputs.files) {
      if (KUBE_KINDS.has(kind)) {
        const bytes = this.#given(kind, path);
        if (bytes !== undefined) this.#addKube(bytes, path);
        continue;
      }
      const stats = path === '-' ? undefined : statSync(path, { throwIfNoEntry: false });
      // What cannot be read a second time is kept.
      const kept = stats?.isFile() === true ? undefined : { bytes: this.#given(kind, path) };
      if (kept !== undefined && kept.bytes === undefined) continue;
      const family = FAMILY_OF[kind];
      files.push({ kind, name: path, ...(family === undefined ? {} : { family }), read: () => kept?.bytes ?? this.#given(kind, path) });
    }
    return files;
  }

  /** A file given beside the recordings. What cannot be read of it is told once. */
  #given(kind: string, path: string): Uint8Array | undefined {
    try {
      const { bytes, fault, tooLong } = readWholeFile(path, readingLimit(kind));
      if (fault !== undefined) this.#refuse(path, fault);
      return tooLong || (fault !== undefined && bytes.length === 0) ? undefined : bytes;
    } catch (error) {
      if (!(error instanceof CaptureFileError)) throw error;
      this.#refuse(path, error.message);
      return undefined;
    }
  }

  #refuse(path: string, detail: string): void {
    this.#malformed = true;
    if (this.#refused.has(path)) return;
    this.#refused.add(path);
    this.#lose({ source: 'malformed', count: 1, exact: true, atNs: 0, detail }, { node: 'local' });
  }

  #addKube(text: Uint8Array, path: string): void {
    try {
      this.#kube.push(parseKubeObjects(text, path));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#refuse(path, error.message);
    }
  }

  #recorded(bundle: Bundle, entry: NamespaceEntry, given: readonly WorldFile[]): Namespace {
    const { node } = bundle.manifest;
    const replaced = new Set(given.map(({ kind }) => kind));
    const snapshots = snapshotsOf(entry);
    const files = snapshots
      .filter(({ kind, status }) => kind !== 'packets' && status !== 'failed' && !replaced.has(kind))
      .map((snapshot) => snapshotFile(snapshot, (path, limit) => bundle.readBytes(path, { limit })));
    const scope = { node, netns: entry.netns, interfaces: entry.interfaces, ...(entry.pod === undefined ? {} : { pod: entry.pod }) };
    return {
      sources: () => {
        const packets = snapshots.filter(({ kind, path }) => kind === 'packets' && path !== undefined);
        // a recording that rotates has thousands of files, one behind the other
        const blockLength = Math.max(SMALLEST_BLOCK, Math.floor(BLOCKS_LENGTH / Math.max(1, packets.length)));
        const options = { base: this.#base, ...(packets.length > MANY_FILES ? { blockLength } : {}) };
        return packets.flatMap(({ path }) => bundle.openPackets(path!, options) ?? []);
      },
      world: (names) => new RecordedWorld(scope, [...files, ...given], names, this.#base, [], this.#room),
      isKnown: true,
      node,
      netns: entry.netns,
      fileInterfaces: (sources, id) => sources[0]?.interfaces[id]?.name,
    };
  }

  #bare(source: FrameSource, given: readonly WorldFile[]): Namespace {
    const scope = { node: 'local', netns: 'capture', interfaces: [] };
    return {
      sources: () => [source],
      world: (names, seen) => new RecordedWorld(scope, given, names, this.#base, seen, this.#room),
      isKnown: given.length > 0,
      node: scope.node,
      netns: scope.netns,
      fileInterfaces: (_sources, id) => source.interfaces[id]?.name,
    };
  }

  /** Reads the frames of one namespace and judges its connections. Those of a bare capture without any knowledge go out at once: there is nothing to join them by. */
  *#read(namespace: Namespace, names: KubeNames): Generator<ReplayProgress, Subject[] | undefined, boolean | undefined> {
    const sources = namespace.sources();
    const source = sources.length <= 1 ? sources[0] : new MergedSource(sources);
    if (source === undefined) {
      this.#known.push({ world: namespace.world(names, []), base: this.#base, subjects: [] });
      return [];
    }
    const cooked = source.interfaces.some(({ linkType }) => LINUX_COOKED.has(linkType));
    const follow = namespace.isKnown || cooked || this.#inputs.requests === true;
    const flows = new NamespaceFlows({ follow: follow ? 'all' : 'hello' });
    yield* this.#readFrames(source, flows);
    flows.finish();
    this.#tally.addFrames(flows.frames, flows.bytes);
    for (const loss of source.losses) this.#lose(loss, { node: namespace.node, netns: namespace.netns });
    this.#malformed ||= source.malformed;
    this.#loseUnfollowed(namespace, flows);
    const world = namespace.world(names, addressesSeen(flows.table));
    if (world.conntrack !== undefined) pairByConntrack(flows, world.conntrack);
    const subjects = this.#judge(namespace, source, flows, world, follow);
    source.close();
    if (subjects !== undefined) this.#known.push({ world, base: this.#base, subjects });
    return subjects;
  }

  #judge(namespace: Namespace, source: FrameSource, flows: NamespaceFlows, world: RecordedWorld, keep: boolean): Subject[] | undefined {
    const { table } = flows;
    const first = table.count === 0 ? 0 : readFlow(table, 0).firstNs;
    const rules = ([4, 6] as const).flatMap((family) => world.rulesAt(family, first) ?? []);
    const context = {
      world,
      base: this.#base,
      judge: new RuleJudge(),
      ports: findProxyPorts(world, rules),
      fileInterfaces: (id: number) => namespace.fileInterfaces([source], id),
    };
    const subjects: Subject[] = [];
    const plain = keep ? undefined : this.#plainWriter(flows, context, first);
    for (let slot = 0; slot < table.count; slot++) {
      if (isAnswerHalf(table, slot) || plain?.(slot) === true) continue;
      const subject = annotate(readFlow(table, slot), flows.extraOf(slot), flows.trackerOf(slot), context);
      if (keep) subjects.push(subject);
      else this.#emit(subject.record);
    }
    world.readAll();
    this.#malformed ||= world.problems.length > 0;
    for (const problem of world.problems)
      this.#lose(
        { source: 'malformed', count: 1, exact: true, atNs: 0, detail: `Cannot use ${problem}` },
        { node: world.node, netns: world.netns },
      );
    return keep ? subjects : undefined;
  }

  /** Writes a flow of which only packets are known, straight from its slot; false where more is to be said of it. */
  #plainWriter(
    flows: NamespaceFlows,
    { world, ports, fileInterfaces }: AnnotateContext,
    atNs: number,
  ): ((slot: number) => boolean) | undefined {
    const writePlain = this.#writePlain;
    if (writePlain === undefined || !PlainAnnotator.isPlain(world, ports, atNs)) return undefined;
    const annotator = new PlainAnnotator(world, ports, fileInterfaces);
    const flow = new PlainFlow(world.node, world.netns, this.#base);
    const { table } = flows;
    return (slot) => {
      if (!readPlain(flows, slot, flow) || !annotator.annotate(flow, table.words[slot * SLOT_WORDS + W_INTERFACE]!)) return false;
      this.#tally.addPlain(flow);
      writePlain(flow);
      return true;
    };
  }

  *#readFrames(source: FrameSource, flows: NamespaceFlows): Generator<ReplayProgress, void, boolean | undefined> {
    const { interfaces } = source;
    let linkTypes = new Int32Array(0);
    if (flows.frameMemory !== undefined) source.useMemory?.(flows.frameMemory);
    for (let batch = source.next(); batch !== undefined; batch = source.next()) {
      // Interfaces may turn up while a capture is being read.
      if (linkTypes.length !== interfaces.length) linkTypes = Int32Array.from(interfaces, ({ linkType }) => linkType);
      flows.observeBlock(batch, batch.count, linkTypes);
      if ((yield { bytesRead: this.#tally.bytes + flows.bytes, bytesTotal: this.#bytesTotal }) === true) {
        this.#stopped = true;
        return;
      }
    }
  }

  #lose(loss: SourceLoss, scope: LostRecord['scope']): void {
    this.#losses.push(addLoss(this.#lastLosses, loss, scope, this.#base));
  }

  #loseUnfollowed(namespace: Namespace, flows: NamespaceFlows): void {
    if (flows.unfollowed === 0) return;
    const detail = `Cannot read the requests of ${flows.unfollowed} connections: there are more than can be followed at once`;
    this.#lose(
      { source: 'requests', count: flows.unfollowed, exact: true, atNs: 0, detail },
      { node: namespace.node, netns: namespace.netns },
    );
  }

  #emit(record: FlowRecord | PathRecord | FindingRecord): void {
    this.#tally.add(record);
    this.#write(record);
  }

  #finish(joined: readonly (readonly Subject[])[]): void {
    const paths = findPaths(joined, this.#inputs.redact ? redaction : noRedaction);
    const flows = joined.flatMap((subjects) => subjects.map((subject) => subject.record));
    const findings = findAll(this.#known, paths);
    for (const record of byTime(flows, paths)) this.#emit(record);
    for (const record of findings) this.#emit(record);
    for (const bundle of this.#bundles) {
      for (const loss of bundle.losses) this.#lose(loss, { node: bundle.manifest.node });
      this.#malformed ||= bundle.malformed;
    }
    for (const lost of this.#losses) {
      this.#tally.add(lost);
      this.#write(lost);
    }
    this.#write(this.#tally.record());
  }
}

/** By first stamp; a flow goes before a path of the same moment, and otherwise the order of finding stays. */
function byTime(flows: readonly FlowRecord[], paths: readonly PathRecord[]): (FlowRecord | PathRecord)[] {
  const all: (FlowRecord | PathRecord)[] = [...flows, ...paths];
  return all.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : a.type === b.type ? 0 : a.type === 'flow' ? -1 : 1));
}
