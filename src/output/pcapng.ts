/**
 * `-o pcapng`: the packets as they were recorded, with what we know beside them: our verdict as a comment on the first packet of each flow, the interfaces' names,
 * the names behind the addresses. It is the second of two passes over the capture; the first gave the flows.
 */
import type { FlowRecord } from '../record/record.ts';
import { escapeText } from './escape.ts';
import { decidingRule } from './hubble-event.ts';
import { enhancedPacket, interfaceDescription, nameResolution, sectionHeader } from './pcapng-blocks.ts';
import { roleNames } from './text-leg.ts';
import type { Writer } from './writer.ts';

/** The part of a frame source that this output reads: batches of frames that lie in one block of bytes, times in nanoseconds since the base. */
export interface PacketInput {
  readonly base: { readonly epochSeconds: number };
  readonly interfaces: readonly { readonly name?: string; readonly linkType: number; readonly snapLength: number }[];
  next(): PacketBatch | undefined;
}

export interface PacketBatch {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly offset: Int32Array;
  readonly capturedLength: Int32Array;
  readonly wireLength: Int32Array;
  readonly timeNs: Float64Array;
  readonly interfaceId: Int32Array;
  /** 0 unknown, 1 in, 2 out. */
  readonly direction?: Uint8Array;
  /** Comments that the recording holds itself. */
  readonly comments?: ReadonlyMap<number, readonly string[]> | undefined;
}

export interface PcapngOptions {
  /** Our comment on frame `index` of the batch; `undefined` where we have nothing to say. */
  readonly verdictOf: (batch: PacketBatch, index: number) => string | undefined;
  /** Names of addresses, from {@link NameTable}. */
  readonly names: ReadonlyMap<string, readonly string[]>;
  /** A name for interface `id` where the capture has none. */
  readonly interfaceName?: (id: number) => string | undefined;
  /** Who wrote the file: `sidetrace 0.1.0`. */
  readonly application: string;
}

/** Writes every packet of the source; returns how many. Interfaces that appear later get their block before their first packet. */
export function writePcapng(source: PacketInput, writer: Writer, options: PcapngOptions): number {
  writer.bytes(sectionHeader(options.application));
  let described = 0;
  let packets = 0;
  let named = false;
  for (let batch = source.next(); batch !== undefined && !writer.closed; batch = source.next()) {
    for (; described < source.interfaces.length; described++) {
      const { linkType, snapLength, name } = source.interfaces[described]!;
      writer.bytes(interfaceDescription(linkType, snapLength, name ?? options.interfaceName?.(described)));
    }
    if (!named) for (const block of nameResolution(options.names)) writer.bytes(block);
    named = true;
    const blocks: Buffer[] = [];
    for (let i = 0; i < batch.count; i++) {
      const from = batch.offset[i]!;
      const timeNs = batch.timeNs[i]!;
      const second = Math.floor(timeNs / 1e9);
      blocks.push(
        enhancedPacket(batch.bytes.subarray(from, from + batch.capturedLength[i]!), {
          interfaceId: batch.interfaceId[i]!,
          // A capture may claim a time before 1970, which pcapng cannot say.
          seconds: Math.max(0, second + source.base.epochSeconds),
          nanoseconds: Math.round(timeNs - second * 1e9),
          wireLength: batch.wireLength[i]!,
          comments: commentsOf(batch, i, options.verdictOf(batch, i)),
          direction: batch.direction?.[i] ?? 0,
        }),
      );
    }
    packets += batch.count;
    writer.bytes(Buffer.concat(blocks));
  }
  writer.flush();
  return packets;
}

/** How our own comments begin: an earlier verdict is replaced. */
const OURS = 'sidetrace ';

function commentsOf({ comments }: PacketBatch, i: number, verdict: string | undefined): readonly string[] {
  const own = comments?.get(i)?.filter((comment) => !comment.startsWith(OURS)) ?? [];
  return verdict === undefined ? own : [...own, verdict];
}

/** What we say of a flow in a packet comment: role, rule, what Envoy did, where its path goes on. */
export function flowComment(flow: FlowRecord): string {
  const parts = [`${OURS}${flow.id}`, flow.roles.map((role) => roleNames[role]).join(' + ')];
  const { rule, envoy, tls } = flow;
  if (rule !== undefined) {
    const by = decidingRule(flow);
    parts.push(
      `rule ${rule.verdict}${rule.port === undefined ? '' : ` ${rule.port}`}${by === undefined ? '' : ` by ${by}`} (${[rule.evidence, rule.reason].filter((part) => part !== undefined).join(': ')})`,
    );
  }
  if (envoy !== undefined) {
    const fields = ['listener', 'chain', 'route', 'virtualHost', 'cluster', 'endpoint'] as const;
    parts.push(
      fields
        .flatMap((field) => (envoy[field] === undefined ? [] : [`${field} ${envoy[field] === '' ? '(nameless)' : envoy[field]}`]))
        .join(', ') || `envoy ${envoy.outcome}`,
    );
    if (envoy.outcome !== 'forwarded') parts.push(`outcome ${envoy.outcome}${envoy.reason === undefined ? '' : ` (${envoy.reason})`}`);
  }
  if (tls?.mutual) parts.push('mutual TLS');
  if (flow.paths !== undefined && flow.paths.length > 0)
    parts.push(`path ${flow.paths.slice(0, 3).join(' ')}${(flow.pathCount ?? flow.paths.length) > 3 ? ' …' : ''}`);
  if (flow.findings !== undefined && flow.findings.length > 0) parts.push(`findings ${flow.findings.join(' ')}`);
  return escapeText(parts.join('; '));
}

/** More addresses than this are not named: the table is for people. */
const ADDRESSES_MAX = 100_000;

/** Collects the names of addresses from flow records: pods as `name.namespace`, services as `name.namespace.svc`. */
export class NameTable {
  readonly names = new Map<string, string[]>();

  add(flow: FlowRecord): void {
    for (const { ip, pod, service } of [flow.source, flow.destination]) {
      if (pod !== undefined) this.#name(ip, dotted(pod));
      else if (service !== undefined) this.#name(ip, `${dotted(service)}.svc`);
    }
  }

  #name(ip: string, name: string): void {
    const known = this.names.get(ip);
    if (known === undefined) {
      if (this.names.size < ADDRESSES_MAX) this.names.set(ip, [name]);
    } else if (!known.includes(name) && known.length < 4) known.push(name);
  }
}

function dotted(qualified: string): string {
  const [namespace, name] = qualified.split('/');
  return name === undefined ? qualified : `${name}.${namespace}`;
}
