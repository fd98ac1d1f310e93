/**
 * `-o json`: one record a line, keys in the order of record/record.ts, absent fields left out.
 *
 * Flow records, of which there may be millions, are put together by hand; everything that hangs on them and every other record goes through JSON.stringify.
 * Rule steps and decisions are shared between flows (verdicts are cached), so their text is kept by identity: a record is not changed once it has been written.
 */
import type { PlainFlow } from '../record/plain-flow.ts';
import type { AnyRecord, FlowRecord, Peer } from '../record/record.ts';
import { JsonBytes } from './json-bytes.ts';
import { JsonPlain } from './json-plain.ts';
import { rowFields } from './rows.ts';
import type { Sink, SinkFormat } from './sink.ts';
import type { Writer } from './writer.ts';

const CHUNK_BYTES = 64 * 1024;

// Keys as bytes: copying them is cheaper than encoding text.
const TYPE_FLOW_ID = Buffer.from('{"type":"flow","id":');
const EVENT = Buffer.from(',"event":');
const STATE = Buffer.from(',"state":');
const MIDSTREAM_TRUE = Buffer.from(',"midstream":true');
const NODE = Buffer.from(',"node":');
const NETNS = Buffer.from(',"netns":');
const POD = Buffer.from(',"pod":');
const PROTOCOL = Buffer.from(',"protocol":');
const FIRST = Buffer.from(',"first":');
const LAST = Buffer.from(',"last":');
const SOURCE = Buffer.from(',"source":');
const DESTINATION = Buffer.from(',"destination":');
const ZONE = Buffer.from(',"zone":');
const INTERFACES = Buffer.from(',"interfaces":');
const TUNNEL = Buffer.from(',"tunnel":');
const HALVES_BY = Buffer.from(',"halves":{"by":');
const EVIDENCE = Buffer.from(',"evidence":');
const OWNER = Buffer.from(',"owner":');
const ROLES = Buffer.from(',"roles":');
const ICMP = Buffer.from(',"icmp":');
const DNS = Buffer.from(',"dns":');
const ENVOY = Buffer.from(',"envoy":');
const TLS = Buffer.from(',"tls":');
const PATHS = Buffer.from(',"paths":');
const PATH_COUNT = Buffer.from(',"pathCount":');
const FINDINGS = Buffer.from(',"findings":');
const RULE_VERDICT = Buffer.from(',"rule":{"verdict":');
const PORT = Buffer.from(',"port":');
const REASON = Buffer.from(',"reason":');
const STEPS = Buffer.from(',"steps":');
const IP = Buffer.from('{"ip":');
const SERVICE = Buffer.from(',"service":');
const WORKLOAD = Buffer.from(',"workload":');
const TRANSLATED_SOURCE = Buffer.from(',"translated":{"source":');
const COUNTERS_TO_DESTINATION_PACKETS = Buffer.from(',"counters":{"toDestination":{"packets":');
const BYTES = Buffer.from(',"bytes":');
const TO_SOURCE_PACKETS = Buffer.from('},"toSource":{"packets":');
const TCP_FLAGS_TO_DESTINATION = Buffer.from(',"tcp":{"flags":{"toDestination":');
const TO_SOURCE = Buffer.from(',"toSource":');
const ISN = Buffer.from(',"isn":{');
const TO_DESTINATION = Buffer.from('"toDestination":');
const TO_SOURCE_2 = Buffer.from('"toSource":');
const RTT_MS = Buffer.from(',"rttMs":');
const HANDSHAKE_MS = Buffer.from(',"handshakeMs":');
const RETRANSMISSIONS = Buffer.from(',"retransmissions":');
const OUT_OF_ORDER = Buffer.from(',"outOfOrder":');
const ZERO_WINDOWS = Buffer.from(',"zeroWindows":');

export const json: SinkFormat = {
  name: 'json',
  summary: 'one JSON object a line: the records as docs/records.md describes them',
  create: (writer) => new JsonSink(writer),
};

export class JsonSink implements Sink {
  readonly #writer: Writer;
  readonly #out = new JsonBytes();
  readonly #shared = new WeakMap<object, Buffer>();
  #node: string | undefined;
  #netns: string | undefined;
  #pod: FlowRecord['pod'];
  #whereText = Buffer.alloc(0);
  #plainOf: PlainFlow | undefined;
  #plain: JsonPlain | undefined;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  write(record: AnyRecord): void {
    if (record.type === 'flow') this.#flow(record);
    else this.#out.value(inOrder(record));
    this.#out.raw('\n');
    if (this.#out.position >= CHUNK_BYTES) this.#drain();
  }

  writePlain(flow: PlainFlow): void {
    if (this.#plainOf !== flow) {
      this.#plain = new JsonPlain(flow);
      this.#plainOf = flow;
    }
    this.#plain!.write(this.#out, flow);
    this.#out.raw('\n');
    if (this.#out.position >= CHUNK_BYTES) this.#drain();
  }

  end(): void {
    this.flush();
  }

  flush(): void {
    this.#drain();
    this.#writer.flush();
  }

  #drain(): void {
    this.#writer.bytes(this.#out.view());
    this.#out.position = 0;
  }

  #flow(flow: FlowRecord): void {
    const out = this.#out;
    out.encoded(TYPE_FLOW_ID);
    out.quoted(flow.id);
    out.encoded(EVENT);
    out.quoted(flow.event);
    out.encoded(STATE);
    out.quoted(flow.state);
    if (flow.midstream) out.encoded(MIDSTREAM_TRUE);
    this.#where(flow);
    out.encoded(PROTOCOL);
    out.quoted(flow.protocol);
    out.encoded(FIRST);
    out.quoted(flow.first);
    out.encoded(LAST);
    out.quoted(flow.last);
    out.encoded(SOURCE);
    writePeer(out, flow.source);
    out.encoded(DESTINATION);
    writePeer(out, flow.destination);
    if (flow.zone !== undefined) {
      out.encoded(ZONE);
      out.number(flow.zone);
    }
    out.encoded(INTERFACES);
    out.list(flow.interfaces);
    if (flow.tunnel !== undefined) {
      out.encoded(TUNNEL);
      out.value(flow.tunnel);
    }
    if (flow.translated !== undefined) writeTranslated(out, flow.translated);
    if (flow.halves !== undefined) {
      out.encoded(HALVES_BY);
      out.quoted(flow.halves.by);
      out.encoded(EVIDENCE);
      out.quoted(flow.halves.evidence);
      out.raw('}');
    }
    if (flow.owner !== undefined) {
      out.encoded(OWNER);
      out.value(flow.owner);
    }
    out.encoded(ROLES);
    out.list(flow.roles);
    writeCounters(out, flow.counters);
    if (flow.tcp !== undefined) writeTcp(out, flow.tcp);
    if (flow.icmp !== undefined) {
      out.encoded(ICMP);
      out.value(flow.icmp);
    }
    if (flow.dns !== undefined) {
      out.encoded(DNS);
      out.value(flow.dns);
    }
    if (flow.rule !== undefined) this.#rule(flow.rule);
    if (flow.envoy !== undefined) {
      out.encoded(ENVOY);
      this.#sharedValue(flow.envoy);
    }
    if (flow.tls !== undefined) {
      out.encoded(TLS);
      out.value(flow.tls);
    }
    if (flow.paths !== undefined) {
      out.encoded(PATHS);
      out.list(flow.paths);
    }
    if (flow.pathCount !== undefined) {
      out.encoded(PATH_COUNT);
      out.number(flow.pathCount);
    }
    if (flow.findings !== undefined) {
      out.encoded(FINDINGS);
      out.list(flow.findings);
    }
    out.raw('}');
  }

  #rule(rule: NonNullable<FlowRecord['rule']>): void {
    const out = this.#out;
    out.encoded(RULE_VERDICT);
    out.quoted(rule.verdict);
    if (rule.port !== undefined) {
      out.encoded(PORT);
      out.number(rule.port);
    }
    out.encoded(EVIDENCE);
    out.quoted(rule.evidence);
    if (rule.reason !== undefined) {
      out.encoded(REASON);
      out.quoted(rule.reason);
    }
    out.encoded(STEPS);
    this.#sharedValue(rule.steps);
    out.raw('}');
  }

  /** Node, namespace and pod: the same for every flow of a capture, so the text of the last is kept. */
  #where(flow: FlowRecord): void {
    const out = this.#out;
    if (flow.node !== this.#node || flow.netns !== this.#netns || flow.pod !== this.#pod) {
      const from = out.position;
      out.encoded(NODE);
      out.quoted(flow.node);
      out.encoded(NETNS);
      out.quoted(flow.netns);
      if (flow.pod !== undefined) {
        out.encoded(POD);
        out.value(flow.pod);
      }
      this.#whereText = Buffer.from(out.view(from));
      this.#node = flow.node;
      this.#netns = flow.netns;
      this.#pod = flow.pod;
    } else out.encoded(this.#whereText);
  }

  /** The text of a value that many flows share, kept by its identity. */
  #sharedValue(value: object): void {
    let text = this.#shared.get(value);
    if (text === undefined) {
      const from = this.#out.position;
      this.#out.value(value);
      text = Buffer.from(this.#out.view(from));
      this.#shared.set(value, text);
    } else this.#out.encoded(text);
  }
}

/** A record whose fields stand in the order of record.ts, whatever the order in which they were set; what no table names comes last. */
function inOrder(record: AnyRecord): object {
  const values = record as unknown as { readonly [field: string]: unknown };
  const ordered: { [field: string]: unknown } = { type: record.type };
  for (const field of rowFields[record.type]) if (values[field] !== undefined) ordered[field] = values[field];
  return Object.assign(ordered, record);
}

function writePeer(out: JsonBytes, peer: Peer): void {
  out.encoded(IP);
  out.quoted(peer.ip);
  if (peer.port !== undefined) {
    out.encoded(PORT);
    out.number(peer.port);
  }
  if (peer.pod !== undefined) {
    out.encoded(POD);
    out.quoted(peer.pod);
  }
  if (peer.service !== undefined) {
    out.encoded(SERVICE);
    out.quoted(peer.service);
  }
  if (peer.workload !== undefined) {
    out.encoded(WORKLOAD);
    out.quoted(peer.workload);
  }
  out.raw('}');
}

function writeTranslated(out: JsonBytes, { source, destination, evidence }: NonNullable<FlowRecord['translated']>): void {
  out.encoded(TRANSLATED_SOURCE);
  writePeer(out, source);
  out.encoded(DESTINATION);
  writePeer(out, destination);
  out.encoded(EVIDENCE);
  out.quoted(evidence);
  out.raw('}');
}

function writeCounters(out: JsonBytes, { toDestination, toSource }: FlowRecord['counters']): void {
  out.encoded(COUNTERS_TO_DESTINATION_PACKETS);
  out.number(toDestination.packets);
  out.encoded(BYTES);
  out.number(toDestination.bytes);
  out.encoded(TO_SOURCE_PACKETS);
  out.number(toSource.packets);
  out.encoded(BYTES);
  out.number(toSource.bytes);
  out.raw('}}');
}

function writeTcp(out: JsonBytes, tcp: NonNullable<FlowRecord['tcp']>): void {
  out.encoded(TCP_FLAGS_TO_DESTINATION);
  out.quoted(tcp.flags.toDestination);
  out.encoded(TO_SOURCE);
  out.quoted(tcp.flags.toSource);
  out.raw('}');
  if (tcp.isn !== undefined) {
    const { toDestination, toSource } = tcp.isn;
    out.encoded(ISN);
    if (toDestination !== undefined) {
      out.encoded(TO_DESTINATION);
      out.number(toDestination);
      if (toSource !== undefined) out.raw(',');
    }
    if (toSource !== undefined) {
      out.encoded(TO_SOURCE_2);
      out.number(toSource);
    }
    out.raw('}');
  }
  if (tcp.rttMs !== undefined) {
    out.encoded(RTT_MS);
    out.number(tcp.rttMs);
  }
  if (tcp.handshakeMs !== undefined) {
    out.encoded(HANDSHAKE_MS);
    out.number(tcp.handshakeMs);
  }
  out.encoded(RETRANSMISSIONS);
  out.number(tcp.retransmissions);
  out.encoded(OUT_OF_ORDER);
  out.number(tcp.outOfOrder);
  out.encoded(ZERO_WINDOWS);
  out.number(tcp.zeroWindows);
  out.raw('}');
}
