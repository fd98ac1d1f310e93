/** Lines of plain flows: the same bytes as json.ts makes of their records, written straight from numbers. */
import type { PlainFlow } from '../record/plain-flow.ts';
import type { FlowState } from '../record/record.ts';
import { JsonBytes } from './json-bytes.ts';
import { ADDRESS_MOST, Chunk, TIME_LENGTH, TimeBytes, writeHex, writeInteger, writeMilliseconds, writeV4, writeV6 } from './plain-bytes.ts';

const QUOTE = 0x22;
const CLOSE = 0x7d;
const INTEGER_MOST = 20;

const chunk = (text: string): Chunk => new Chunk(Buffer.from(text));

const OPEN = chunk('{"type":"flow","id":"');
const LAST = chunk('","last":"');
const SOURCE = chunk('","source":{"ip":"');
const DESTINATION = chunk(',"destination":{"ip":"');
const PORT = chunk('","port":');
const BYTES = chunk(',"bytes":');
const TO_SOURCE_PACKETS = chunk('},"toSource":{"packets":');
const END_COUNTERS = chunk('}}');
const TCP_FLAGS = chunk(',"tcp":{"flags":{"toDestination":');
const TO_SOURCE_FLAGS = chunk(',"toSource":');
const ISN_TO_DESTINATION = chunk(',"isn":{"toDestination":');
const ISN_TO_SOURCE = chunk(',"isn":{"toSource":');
const RTT = chunk(',"rttMs":');
const HANDSHAKE = chunk(',"handshakeMs":');
const RETRANSMISSIONS = chunk(',"retransmissions":');
const OUT_OF_ORDER = chunk(',"outOfOrder":');
const ZERO_WINDOWS = chunk(',"zeroWindows":');

/** Everything but the parts that are not known beforehand: the chunks above, id, times, addresses, numbers. */
const NUMBERS_MOST = 512 + 2 * TIME_LENGTH + 2 * ADDRESS_MOST + 13 * INTEGER_MOST;

export class JsonPlain {
  readonly #times: TimeBytes;
  readonly #node: string;
  readonly #netns: string;
  /** Event, state, whether midstream, node, namespace, protocol: up to the first stamp. */
  readonly #heads = new Map<FlowState, (Chunk | undefined)[]>();
  readonly #flags: (Chunk | undefined)[] = [];
  /** By the identity of what they hold. */
  #interfaces: readonly string[] | undefined;
  #roles: readonly string[] | undefined;
  #where: Chunk = chunk('');
  #rule: PlainFlow['rule'];
  #ruleText: Chunk = chunk('');

  constructor(flow: PlainFlow) {
    this.#times = new TimeBytes(flow.base);
    this.#node = flow.node;
    this.#netns = flow.netns;
  }

  /** Without the end of the line. */
  write(out: JsonBytes, flow: PlainFlow): void {
    const head = this.#head(flow);
    if (flow.interfaces !== this.#interfaces || flow.roles !== this.#roles) this.#place(flow);
    if (flow.rule !== this.#rule) this.#judge(flow.rule);
    const where = this.#where;
    const view = out.reserve(NUMBERS_MOST + head.length + where.length);
    let at = OPEN.write(view, out.position);
    at = writeHex(view, writeHex(view, at, flow.id.high), flow.id.low);
    at = head.write(view, at);
    at = this.#times.write(view, at, flow.firstNs);
    at = LAST.write(view, at);
    at = this.#times.write(view, at, flow.lastNs);
    at = writeEnd(view, SOURCE.write(view, at), flow, 0, flow.sourcePort);
    at = writeEnd(view, DESTINATION.write(view, at), flow, 4, flow.destinationPort);
    at = where.write(view, at);
    at = writeInteger(view, at, flow.packetsToDestination);
    at = writeInteger(view, BYTES.write(view, at), flow.bytesToDestination);
    at = writeInteger(view, TO_SOURCE_PACKETS.write(view, at), flow.packetsToSource);
    at = writeInteger(view, BYTES.write(view, at), flow.bytesToSource);
    out.position = END_COUNTERS.write(view, at);
    if (flow.isTcp) this.#tcp(out, flow);
    if (flow.icmp !== undefined) {
      out.raw(',"icmp":');
      out.value(flow.icmp);
    }
    if (flow.dns !== undefined) {
      out.raw(',"dns":');
      out.value(flow.dns);
    }
    const rule = this.#ruleText;
    out.position = rule.write(out.reserve(rule.length + 4), out.position);
  }

  #tcp(out: JsonBytes, flow: PlainFlow): void {
    const toDestination = this.#flagNames(flow.flagsToDestination, flow.flagNamesToDestination);
    const toSource = this.#flagNames(flow.flagsToSource, flow.flagNamesToSource);
    const view = out.reserve(NUMBERS_MOST + toDestination.length + toSource.length);
    let at = toDestination.write(view, TCP_FLAGS.write(view, out.position));
    at = toSource.write(view, TO_SOURCE_FLAGS.write(view, at));
    view.setUint8(at++, CLOSE);
    if (flow.hasIsnToDestination) {
      at = writeInteger(view, ISN_TO_DESTINATION.write(view, at), flow.isnToDestination >>> 0);
      if (flow.hasIsnToSource) at = writeInteger(view, TO_SOURCE_FLAGS.write(view, at), flow.isnToSource >>> 0);
      view.setUint8(at++, CLOSE);
    } else if (flow.hasIsnToSource) {
      at = writeInteger(view, ISN_TO_SOURCE.write(view, at), flow.isnToSource >>> 0);
      view.setUint8(at++, CLOSE);
    }
    if (flow.rttMs >= 0) at = writeMilliseconds(view, RTT.write(view, at), flow.rttMs);
    if (flow.handshakeMs >= 0) at = writeMilliseconds(view, HANDSHAKE.write(view, at), flow.handshakeMs);
    at = writeInteger(view, RETRANSMISSIONS.write(view, at), flow.retransmissions);
    at = writeInteger(view, OUT_OF_ORDER.write(view, at), flow.outOfOrder);
    at = writeInteger(view, ZERO_WINDOWS.write(view, at), flow.zeroWindows);
    view.setUint8(at, CLOSE);
    out.position = at + 1;
  }

  #head(flow: PlainFlow): Chunk {
    let ofState = this.#heads.get(flow.state);
    if (ofState === undefined) {
      ofState = [];
      this.#heads.set(flow.state, ofState);
    }
    const which = flow.protocolNumber * 2 + (flow.midstream ? 1 : 0);
    let head = ofState[which];
    if (head === undefined) {
      head = chunkOf((out) => {
        out.raw(
          `","event":"${flow.over ? 'close' : 'update'}","state":"${flow.state}"${flow.midstream ? ',"midstream":true' : ''},"node":`,
        );
        out.quoted(this.#node);
        out.raw(',"netns":');
        out.quoted(this.#netns);
        out.raw(',"protocol":');
        out.quoted(flow.protocol);
        out.raw(',"first":"');
      });
      ofState[which] = head;
    }
    return head;
  }

  #flagNames(flags: number, names: string): Chunk {
    let text = this.#flags[flags];
    if (text === undefined) {
      text = chunkOf((out) => out.quoted(names));
      this.#flags[flags] = text;
    }
    return text;
  }

  #place(flow: PlainFlow): void {
    this.#interfaces = flow.interfaces;
    this.#roles = flow.roles;
    this.#where = chunkOf((out) => {
      out.raw(',"interfaces":');
      out.list(flow.interfaces);
      out.raw(',"roles":');
      out.list(flow.roles);
      out.raw(',"counters":{"toDestination":{"packets":');
    });
  }

  #judge(rule: PlainFlow['rule']): void {
    this.#rule = rule;
    this.#ruleText = chunkOf((out) => {
      if (rule !== undefined) {
        const { verdict, port, evidence, reason, steps } = rule;
        out.raw(',"rule":');
        out.value({ verdict, port, evidence, reason, steps });
      }
      out.raw('}');
    });
  }
}

function chunkOf(fill: (out: JsonBytes) => void): Chunk {
  const out = new JsonBytes(1024);
  fill(out);
  return new Chunk(out.view());
}

/** Address and port, and the end of both. */
function writeEnd(view: DataView, at: number, flow: PlainFlow, from: number, port: number): number {
  let next = flow.ipv6 ? writeV6(view, at, flow.addresses, from) : writeV4(view, at, flow.addresses[from + 3]!);
  if (flow.hasPorts) next = writeInteger(view, PORT.write(view, next), port);
  else view.setUint8(next++, QUOTE);
  view.setUint8(next, CLOSE);
  return next + 1;
}
