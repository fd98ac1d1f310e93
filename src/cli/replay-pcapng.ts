/**
 * `replay -o pcapng`: two passes. The first finds the flows; the second reads the packets again and writes them with what the first found. Standard input is spooled to a temporary file.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeFrame } from '../decode/decode.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, Packet } from '../decode/packet.ts';
import { formatV4, formatV6 } from '../net/address.ts';
import { formatTime, type TimeBase } from '../net/time.ts';
import { type Selection, selecting } from '../output/filter/filter-sink.ts';
import { flowComment, NameTable, type PacketBatch, writePcapng } from '../output/pcapng.ts';
import type { Sink } from '../output/sink.ts';
import { type ReplayInputs, replay } from '../pipeline.ts';
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import { type Bundle, snapshotsOf } from '../source/bundle.ts';
import { openInput } from '../source/input.ts';
import { MergedSource } from '../source/merge.ts';
import { expandRecording } from '../source/recording.ts';
import type { FrameSource } from '../source/source.ts';
import { SourceBase } from '../source/source-base.ts';
import { type DestinationOptions, openDestination } from './destination.ts';
import { drive, exitCode } from './drive.ts';
import { type ExitCode, LOST } from './exit-code.ts';
import { complain, InputError } from './failure.ts';
import { podLabels } from './pod-labels.ts';
import { Progress } from './progress.ts';
import { version } from './version.ts';

const SPOOL_CHUNK = 1024 * 1024;

export async function replayToPcapng(
  given: ReplayInputs,
  options: DestinationOptions,
  selection: Omit<Selection, 'labelsOf'>,
): Promise<ExitCode> {
  const spool = given.captures.includes('-') ? spoolInput() : undefined;
  try {
    const inputs = { ...given, captures: given.captures.map((path) => (path === '-' && spool !== undefined ? spool.path : path)) };
    const found = new FirstPackets();
    const progress = new Progress();
    const sink = selecting(found, { ...selection, labelsOf: podLabels(inputs) });
    const ended = await drive(
      replay(inputs, (record) => sink.write(record)),
      sink,
      progress,
      () => false,
    );
    progress.end();
    const { writer } = openDestination(options);
    writeAgain(inputs.captures, found, writer);
    writer.close();
    if (writer.failure !== undefined) {
      complain(`Cannot write the packets: a place with room is wanted, the system says ${writer.failure.code ?? writer.failure.message}`);
      return LOST;
    }
    return exitCode(ended);
  } finally {
    spool?.remove();
  }
}

/** Standard input as a file, since it is read twice. */
function spoolInput(): { path: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-'));
  const path = join(folder, 'input');
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const file = openSync(path, 'wx', 0o600);
    const chunk = Buffer.allocUnsafe(SPOOL_CHUNK);
    for (let length = readSync(0, chunk); length > 0; length = readSync(0, chunk)) writeSync(file, chunk, 0, length);
    closeSync(file);
    return { path, remove };
  } catch (cause) {
    remove();
    throw new InputError(
      `Cannot keep standard input in "${path}": a file that may be written is wanted, the system says ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
      { cause },
    );
  }
}

/** What the first pass found: the flows by the packet that began each, and names of addresses. */
class FirstPackets implements Sink {
  readonly names = new NameTable();
  readonly #flows = new Map<string, FlowRecord[]>();

  write(record: AnyRecord): void {
    if (record.type !== 'flow') return;
    this.names.add(record);
    const { netns, protocol, source, destination, translated } = record;
    const ends = [`${source.ip} ${source.port ?? 0}`, `${destination.ip} ${destination.port ?? 0}`] as const;
    const pairs: (readonly [string, string])[] = [ends];
    // On lo a redirected connection is seen with the address that it was redirected to.
    if (translated !== undefined) {
      const to = `${translated.destination.ip} ${translated.destination.port}`;
      pairs.push([ends[0], to], [`${translated.source.ip} ${translated.source.port}`, to]);
    }
    const keys = new Set(pairs.flatMap(([a, b]) => [`${netns} ${protocol} ${a} ${b}`, `${netns} ${protocol} ${b} ${a}`]));
    for (const key of keys) {
      const list = this.#flows.get(key);
      if (list === undefined) this.#flows.set(key, [record]);
      else list.push(record);
    }
  }

  context(flow: FlowRecord): void {
    this.names.add(flow);
  }

  end(): void {}

  /** The flow that began with a packet of these ends at this time; given once. */
  take(key: string, time: () => string): FlowRecord | undefined {
    const list = this.#flows.get(key);
    if (list === undefined) return undefined;
    const at = time();
    const i = list.findIndex(({ first }) => first === at);
    if (i === -1) return undefined;
    const [flow] = list.splice(i, 1);
    if (list.length === 0) this.#flows.delete(key);
    return flow;
  }
}

interface Origin {
  readonly source: FrameSource;
  readonly netns: string;
  /** Stands before the interface's name where several namespaces are in one file. */
  readonly label: string | undefined;
}

function writeAgain(captures: readonly string[], found: FirstPackets, writer: Parameters<typeof writePcapng>[1]): void {
  const base = new SourceBase();
  const bundles: Bundle[] = [];
  const origins: Origin[] = [];
  for (const path of captures.flatMap(expandRecording)) {
    const input = openInput(path, { base, keepComments: true });
    if (input.kind === 'capture') {
      origins.push({ source: input.source, netns: BARE, label: undefined });
      continue;
    }
    bundles.push(input.bundle);
    for (const entry of input.bundle.manifest.namespaces)
      for (const snapshot of snapshotsOf(entry, 'packets')) {
        const source = snapshot.path === undefined ? undefined : input.bundle.openPackets(snapshot.path, { base, keepComments: true });
        if (source !== undefined)
          origins.push({
            source,
            netns: entry.netns,
            label: entry.pod === undefined ? entry.netns : `${entry.pod.namespace}/${entry.pod.name}`,
          });
      }
  }
  if (origins.length > 0) {
    const merged = new MergedSource(origins.map(({ source }) => source));
    const labelled = named(merged, origins);
    writePcapng(labelled, writer, {
      application: `sidetrace ${version()}`,
      names: found.names.names,
      verdictOf: verdicts(merged, origins, found),
    });
    merged.close();
  }
  for (const bundle of bundles) bundle.close();
}

/** How the pipeline calls the namespace of bare captures. */
const BARE = 'capture';

/** The merged source with interface names that say whose they are. */
function named(
  merged: MergedSource,
  origins: readonly Origin[],
): { base: TimeBase; interfaces: { name?: string; linkType: number; snapLength: number }[]; next(): PacketBatch | undefined } {
  const interfaces: { name?: string; linkType: number; snapLength: number }[] = [];
  return {
    base: merged.base,
    interfaces,
    next: () => {
      const batch = merged.next();
      for (let id = interfaces.length; id < merged.interfaces.length; id++) {
        const { name, linkType, snapLength } = merged.interfaces[id]!;
        const label = origins[merged.inputOf[id]!]?.label;
        const full = [label, name].filter((part) => part !== undefined).join(':');
        interfaces.push({ linkType, snapLength, ...(full === '' ? {} : { name: full }) });
      }
      return batch;
    },
  };
}

const protocols: { readonly [number: number]: string } = {
  [IPPROTO_ICMP]: 'icmp',
  [IPPROTO_TCP]: 'tcp',
  [IPPROTO_UDP]: 'udp',
  [IPPROTO_ICMPV6]: 'icmpv6',
  [IPPROTO_SCTP]: 'sctp',
};

/** Our comment on the packet that began a flow. */
function verdicts(
  merged: MergedSource,
  origins: readonly Origin[],
  found: FirstPackets,
): (batch: PacketBatch, index: number) => string | undefined {
  const packet = new Packet();
  let view: DataView = new DataView(new ArrayBuffer(0));
  return (batch, i) => {
    if (view.buffer !== batch.bytes.buffer || view.byteOffset !== batch.bytes.byteOffset)
      view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.byteLength);
    const id = batch.interfaceId[i]!;
    decodeFrame(
      packet,
      merged.interfaces[id]!.linkType,
      batch.bytes,
      view,
      batch.offset[i]!,
      batch.capturedLength[i]!,
      batch.wireLength[i]!,
      batch.timeNs[i]!,
    );
    if (packet.ipVersion === 0) return undefined;
    const source = packet.ipVersion === 4 ? formatV4(packet.src3) : formatV6(packet.src0, packet.src1, packet.src2, packet.src3);
    const destination = packet.ipVersion === 4 ? formatV4(packet.dst3) : formatV6(packet.dst0, packet.dst1, packet.dst2, packet.dst3);
    const protocol = protocols[packet.protocol] ?? String(packet.protocol);
    const netns = origins[merged.inputOf[id]!]?.netns ?? BARE;
    const flow = found.take(`${netns} ${protocol} ${source} ${packet.srcPort} ${destination} ${packet.dstPort}`, () =>
      formatTime(merged.base, packet.timeNs),
    );
    return flow === undefined ? undefined : flowComment(flow);
  };
}
