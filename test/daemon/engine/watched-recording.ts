/** Plays a recording to the engine as if it happened: the frames of all namespaces in the order of time, a tick each quarter of a second of their stamps unless told otherwise. */
import { Engine } from '../../../src/daemon/engine/engine.ts';
import type { EngineNamespace, WatchedWorld } from '../../../src/daemon/engine/engine-namespace.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import { type KubeObjects, parseKubeObjects } from '../../../src/kube/objects.ts';
import { parseRfc3339 } from '../../../src/net/time.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { type Bundle, snapshotsOf } from '../../../src/source/bundle.ts';
import { openInput } from '../../../src/source/input.ts';
import { MergedSource } from '../../../src/source/merge.ts';
import { expandRecording } from '../../../src/source/recording.ts';
import { SourceBase } from '../../../src/source/source-base.ts';
import { ConfigRoom, RecordedWorld, snapshotFile } from '../../../src/world/build.ts';
import { probeFrame } from './probe-frame.ts';

/** A frame as the probe sends it. */
interface Frame {
  readonly timeNs: number;
  readonly namespace: number;
  readonly payload: Uint8Array;
}

/** The records that the engine gives of a recording whose captures have link type LINUX_SLL2; `end` false: the connections go on when it is over. `told` hears of each when it is told. */
export function watch(
  path: string,
  options: {
    readonly linger?: number;
    /** Milliseconds between two ticks. */
    readonly tickMs?: number;
    readonly batch?: boolean /** Seconds between two times at which Envoys are asked for their versions; 0 at once. */;
    readonly polls?: number;
    readonly told?: (record: AnyRecord, epochMs: number) => void;
  } = {},
): AnyRecord[] {
  const base = new SourceBase();
  const room = new ConfigRoom();
  const kube: KubeObjects[] = [];
  const names = () => known;
  let known = new KubeNames();
  const worlds: WatchedWorld[] = [];
  const frames: Frame[] = [];
  const bundles: Bundle[] = [];
  let node = '';
  for (const part of expandRecording(path)) {
    const input = openInput(part, { base });
    if (input.kind !== 'bundle') throw new TypeError(`Cannot watch "${part}": a bundle is wanted, it is a capture`);
    const { bundle } = input;
    const begun = bundle.manifest.begun === undefined ? undefined : parseRfc3339(bundle.manifest.begun);
    if (begun !== undefined) base.fix(begun.seconds - 3600);
    node = bundle.manifest.node;
    for (const { name, bytes } of bundle.kubeFiles()) kube.push(parseKubeObjects(bytes, name));
    known = new KubeNames(...kube);
    for (const entry of bundle.manifest.namespaces) {
      const namespace = worlds.length;
      const snapshots = snapshotsOf(entry);
      const files = snapshots
        .filter(({ kind, status }) => kind !== 'packets' && kind !== 'access-log' && status !== 'failed')
        .map((snapshot) => snapshotFile(snapshot, (path, limit) => bundle.readBytes(path, { limit })));
      const scope = { node, netns: entry.netns, interfaces: entry.interfaces, ...(entry.pod === undefined ? {} : { pod: entry.pod }) };
      const world = new RecordedWorld(scope, files, names(), base, [], room);
      const polled = { version: 0, envoyKnownUntilNs: 0, expire: (nowNs: number) => poll(polled, nowNs) };
      const poll = (at: { envoyKnownUntilNs: number }, nowNs: number) => {
        const every = (options.polls ?? 0) * 1e9;
        at.envoyKnownUntilNs = every === 0 ? nowNs : Math.floor(nowNs / every) * every;
        Object.assign(world, at);
      };
      worlds.push(Object.assign(world, polled));
      const sources = snapshots.flatMap((snapshot) =>
        snapshot.kind === 'packets' && snapshot.path !== undefined ? (bundle.openPackets(snapshot.path, { base }) ?? []) : [],
      );
      const source = sources.length <= 1 ? sources[0] : new MergedSource(sources);
      for (let batch = source?.next(); batch !== undefined; batch = source?.next())
        for (let i = 0; i < batch.count; i++) {
          if (source!.interfaces[batch.interfaceId[i]!]!.linkType !== 276)
            throw new TypeError(`Cannot watch "${part}": LINUX_SLL2 is wanted`);
          const bytes = batch.bytes.subarray(batch.offset[i]!, batch.offset[i]! + batch.capturedLength[i]!);
          frames.push({
            timeNs: batch.timeNs[i]!,
            namespace,
            payload: probeFrame(base.epochSeconds, batch.timeNs[i]!, bytes, batch.wireLength[i]!),
          });
        }
      source?.close();
    }
    bundles.push(bundle);
  }
  const tickNs = (options.tickMs ?? 250) * 1e6;
  const records: AnyRecord[] = [];
  const engine = new Engine({ node, redact: true, base, seed: 1 }, (record) => {
    const told = structuredClone(record);
    records.push(told);
    options.told?.(told, base.epochSeconds * 1e3 + nowNs / 1e6);
  });
  const namespaces: EngineNamespace[] = worlds.map((world, i) => engine.open(BigInt(i + 1), world));
  frames.sort((a, b) => a.timeNs - b.timeNs);
  let nowNs = (frames[0]?.timeNs ?? 0) + tickNs;
  for (const { timeNs, namespace, payload } of frames) {
    while (timeNs > nowNs) {
      engine.tick(nowNs);
      nowNs += tickNs;
    }
    namespaces[namespace]!.observeProbeFrames(payload);
  }
  for (const untilNs = nowNs + (options.linger ?? 0) * 1e9; nowNs <= untilNs; nowNs += tickNs) engine.tick(nowNs);
  records.push(engine.finish(nowNs));
  for (const bundle of bundles) bundle.close();
  return records;
}
