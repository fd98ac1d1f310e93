/** Writes records as MessagePack rows: arrays in the order of rows.ts. What many flows share is encoded once. */
import type { AnyRecord, Decision, FlowRecord, RuleStep } from '../record/record.ts';
import type { MsgpackBytes } from './msgpack-bytes.ts';
import { rowOf } from './rows.ts';

/** Encoded values that many flows share, by identity: a record is not changed once it has been written. */
type Shared = WeakMap<object, Buffer>;

export class MsgpackRows {
  readonly #out: MsgpackBytes;
  readonly #shared: Shared;

  /** @param other writes other rows of the same records: what is shared is encoded once for both */
  constructor(out: MsgpackBytes, other?: MsgpackRows) {
    this.#out = out;
    this.#shared = other === undefined ? new WeakMap() : other.#shared;
  }

  /** Appends the row of a record. */
  write(record: AnyRecord): void {
    if (record.type === 'flow') this.#flow(record);
    else this.#out.value(rowOf(record));
  }

  /** In the order of `rowFields.flow`: the fields that every flow has without asking, then the rest. */
  #flow(flow: FlowRecord): void {
    const out = this.#out;
    const at = out.beginArray16();
    out.text(flow.id);
    out.text(flow.event);
    out.text(flow.state);
    out.text(flow.node);
    out.text(flow.netns);
    out.text(flow.protocol);
    out.text(flow.first);
    out.text(flow.last);
    out.text(flow.source.ip);
    optionalNumber(out, flow.source.port);
    out.text(flow.destination.ip);
    optionalNumber(out, flow.destination.port);
    texts(out, flow.interfaces);
    texts(out, flow.roles);
    out.number(flow.counters.toDestination.packets);
    out.number(flow.counters.toDestination.bytes);
    out.number(flow.counters.toSource.packets);
    out.number(flow.counters.toSource.bytes);
    const { tcp, rule } = flow;
    if (tcp === undefined) for (let i = 0; i < 9; i++) out.nil();
    else {
      out.text(tcp.flags.toDestination);
      out.text(tcp.flags.toSource);
      out.number(tcp.retransmissions);
      out.number(tcp.outOfOrder);
      out.number(tcp.zeroWindows);
      optionalNumber(out, tcp.isn?.toDestination);
      optionalNumber(out, tcp.isn?.toSource);
      optionalNumber(out, tcp.rttMs);
      optionalNumber(out, tcp.handshakeMs);
    }
    let length = 27;
    let end = out.position;
    const optional = (value: unknown): void => {
      length++;
      if (value === undefined) out.nil();
      else {
        out.value(value);
        kept = length;
        end = out.position;
      }
    };
    let kept = length;
    const shared = (value: Decision | readonly RuleStep[] | undefined): void => {
      length++;
      if (value === undefined) out.nil();
      else {
        this.#sharedValue(value);
        kept = length;
        end = out.position;
      }
    };
    optional(flow.midstream);
    optional(rule?.verdict);
    optional(rule?.evidence);
    shared(rule?.steps);
    optional(rule?.port);
    optional(rule?.reason);
    optional(flow.pod);
    optional(flow.source.pod);
    optional(flow.source.service);
    optional(flow.source.workload);
    optional(flow.destination.pod);
    optional(flow.destination.service);
    optional(flow.destination.workload);
    shared(flow.envoy);
    optional(flow.translated);
    optional(flow.halves);
    optional(flow.owner);
    optional(flow.paths);
    optional(flow.pathCount);
    optional(flow.tls);
    optional(flow.findings);
    optional(flow.icmp);
    optional(flow.dns);
    optional(flow.zone);
    optional(flow.tunnel);
    out.position = end;
    out.endArray16(at, kept);
  }

  #sharedValue(value: object): void {
    let encoded = this.#shared.get(value);
    if (encoded === undefined) {
      const from = this.#out.position;
      this.#out.value(value);
      encoded = Buffer.from(this.#out.view(from));
      this.#shared.set(value, encoded);
    } else this.#out.encoded(encoded);
  }
}

function optionalNumber(out: MsgpackBytes, value: number | undefined): void {
  if (value === undefined) out.nil();
  else out.number(value);
}

function texts(out: MsgpackBytes, values: readonly string[]): void {
  out.array(values.length);
  for (let i = 0; i < values.length; i++) out.text(values[i]!);
}
