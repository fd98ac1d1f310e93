/** Rows of plain flows, in the order of `rowFields.flow`: the same bytes as msgpack.ts makes of their records, written straight from numbers. */
import type { PlainFlow } from '../record/plain-flow.ts';
import type { FlowState } from '../record/record.ts';
import { MsgpackBytes } from './msgpack-bytes.ts';
import { ADDRESS_MOST, Chunk, TIME_LENGTH, TimeBytes, writeHex, writeV4, writeV6 } from './plain-bytes.ts';
import { rowFields } from './rows.ts';

const FIXSTR = 0xa0;
const NIL = 0xc0;
const FLOAT64 = 0xcb;
const UINT8 = 0xcc;
const UINT16 = 0xcd;
const UINT32 = 0xce;
const UINT64 = 0xcf;
const STR8 = 0xd9;
const ID_LENGTH = 16;
const TCP_FIELDS = 9;

/** Everything but the chunks: id, times, addresses, numbers. */
const NUMBERS_MOST = 64 + 2 * TIME_LENGTH + 2 * ADDRESS_MOST + 16 * 9;

const fields: readonly string[] = rowFields.flow;
const REASON_END = fields.indexOf('rule.reason') + 1;
const ICMP = fields.indexOf('icmp');
const DNS = fields.indexOf('dns');

export class MsgpackPlain {
  readonly #times: TimeBytes;
  readonly #node: string;
  readonly #netns: string;
  /** Event, state, node, namespace, protocol. */
  readonly #heads = new Map<FlowState, (Chunk | undefined)[]>();
  readonly #flags: (Chunk | undefined)[] = [];
  /** By the identity of what they hold. */
  #interfaces: readonly string[] | undefined;
  #roles: readonly string[] | undefined;
  #where: Chunk = NOTHING;
  #rule: PlainFlow['rule'];
  #fromStart: Chunk = NOTHING;
  #midstream: Chunk = NOTHING;

  constructor(flow: PlainFlow) {
    this.#times = new TimeBytes(flow.base);
    this.#node = flow.node;
    this.#netns = flow.netns;
  }

  write(out: MsgpackBytes, flow: PlainFlow): void {
    const head = this.#head(flow);
    if (flow.interfaces !== this.#interfaces || flow.roles !== this.#roles) this.#place(flow);
    if (flow.rule !== this.#rule) this.#judge(flow.rule);
    const where = this.#where;
    const rule = flow.midstream ? this.#midstream : this.#fromStart;
    const toDestination = flow.isTcp ? this.#flagNames(flow.flagsToDestination, flow.flagNamesToDestination) : NOTHING;
    const toSource = flow.isTcp ? this.#flagNames(flow.flagsToSource, flow.flagNamesToSource) : NOTHING;
    const view = out.reserve(NUMBERS_MOST + head.length + where.length + rule.length + toDestination.length + toSource.length);

    const begin = out.position;
    let at = begin + 3;
    view.setUint8(at, FIXSTR | ID_LENGTH);
    at = writeHex(view, writeHex(view, at + 1, flow.id.high), flow.id.low);
    at = head.write(view, at);
    view.setUint8(at, FIXSTR | TIME_LENGTH);
    at = this.#times.write(view, at + 1, flow.firstNs);
    view.setUint8(at, FIXSTR | TIME_LENGTH);
    at = this.#times.write(view, at + 1, flow.lastNs);
    at = putEnd(view, at, flow, 0, flow.sourcePort);
    at = putEnd(view, at, flow, 4, flow.destinationPort);
    at = where.write(view, at);
    at = putNumber(view, at, flow.packetsToDestination);
    at = putNumber(view, at, flow.bytesToDestination);
    at = putNumber(view, at, flow.packetsToSource);
    at = putNumber(view, at, flow.bytesToSource);
    if (flow.isTcp) {
      at = toDestination.write(view, at);
      at = toSource.write(view, at);
      at = putNumber(view, at, flow.retransmissions);
      at = putNumber(view, at, flow.outOfOrder);
      at = putNumber(view, at, flow.zeroWindows);
      at = flow.hasIsnToDestination ? putNumber(view, at, flow.isnToDestination >>> 0) : putNil(view, at);
      at = flow.hasIsnToSource ? putNumber(view, at, flow.isnToSource >>> 0) : putNil(view, at);
      at = flow.rttMs >= 0 ? putNumber(view, at, flow.rttMs) : putNil(view, at);
      at = flow.handshakeMs >= 0 ? putNumber(view, at, flow.handshakeMs) : putNil(view, at);
    } else for (let i = 0; i < TCP_FIELDS; i++) at = putNil(view, at);
    at = rule.write(view, at);
    out.position = at;
    let length = REASON_END;
    if (flow.icmp !== undefined || flow.dns !== undefined) length = this.#rest(out, flow);
    out.endArray16(begin, length);
  }

  /** Nils up to ICMP and DNS, and these. */
  #rest(out: MsgpackBytes, { icmp, dns }: PlainFlow): number {
    for (let i = REASON_END; i < ICMP; i++) out.nil();
    if (icmp === undefined) out.nil();
    else out.value(icmp);
    if (dns === undefined) return ICMP + 1;
    for (let i = ICMP + 1; i < DNS; i++) out.nil();
    out.map(2 + (dns.rcode === undefined ? 0 : 1) + (dns.answers === undefined ? 0 : 1));
    out.text('question');
    out.text(dns.question);
    out.text('kind');
    out.text(dns.kind);
    if (dns.rcode !== undefined) {
      out.text('rcode');
      out.text(dns.rcode);
    }
    if (dns.answers === undefined) return DNS + 1;
    out.text('answers');
    out.array(dns.answers.length);
    for (let i = 0; i < dns.answers.length; i++) out.text(dns.answers[i]!);
    return DNS + 1;
  }

  #head(flow: PlainFlow): Chunk {
    let ofState = this.#heads.get(flow.state);
    if (ofState === undefined) {
      ofState = [];
      this.#heads.set(flow.state, ofState);
    }
    let head = ofState[flow.protocolNumber];
    if (head === undefined) {
      head = chunkOf((out) => {
        out.text(flow.over ? 'close' : 'update');
        for (const text of [flow.state, this.#node, this.#netns, flow.protocol]) out.text(text);
      });
      ofState[flow.protocolNumber] = head;
    }
    return head;
  }

  #flagNames(flags: number, names: string): Chunk {
    let chunk = this.#flags[flags];
    if (chunk === undefined) {
      chunk = chunkOf((out) => out.text(names));
      this.#flags[flags] = chunk;
    }
    return chunk;
  }

  #place(flow: PlainFlow): void {
    this.#interfaces = flow.interfaces;
    this.#roles = flow.roles;
    this.#where = chunkOf((out) => {
      out.value(flow.interfaces);
      out.value(flow.roles);
    });
  }

  #judge(rule: PlainFlow['rule']): void {
    this.#rule = rule;
    const both = [false, true].map((midstream) =>
      chunkOf((out) => {
        for (const value of [midstream || undefined, rule?.verdict, rule?.evidence, rule?.steps, rule?.port, rule?.reason])
          out.value(value);
      }),
    );
    this.#fromStart = both[0]!;
    this.#midstream = both[1]!;
  }
}

function chunkOf(fill: (out: MsgpackBytes) => void): Chunk {
  const out = new MsgpackBytes(1024);
  fill(out);
  return new Chunk(out.view());
}

const NOTHING = new Chunk(new Uint8Array(0));

function putNil(view: DataView, at: number): number {
  view.setUint8(at, NIL);
  return at + 1;
}

function putEnd(view: DataView, at: number, flow: PlainFlow, from: number, port: number): number {
  let next: number;
  if (flow.ipv6) {
    next = writeV6(view, at + 1, flow.addresses, from);
    if (next - at - 1 < 32) view.setUint8(at, FIXSTR | (next - at - 1));
    else {
      view.setUint8(at, STR8);
      next = writeV6(view, at + 2, flow.addresses, from);
      view.setUint8(at + 1, next - at - 2);
    }
  } else {
    next = writeV4(view, at + 1, flow.addresses[from + 3]!);
    view.setUint8(at, FIXSTR | (next - at - 1));
  }
  return flow.hasPorts ? putNumber(view, next, port) : putNil(view, next);
}

/** A number that is not negative, as MsgpackBytes.number writes it. */
function putNumber(view: DataView, at: number, value: number): number {
  const small = value | 0;
  if (small === value) {
    if (small < 0x80) {
      view.setUint8(at, small);
      return at + 1;
    }
    if (small < 0x100) {
      view.setUint8(at, UINT8);
      view.setUint8(at + 1, small);
      return at + 2;
    }
    if (small < 0x10000) {
      view.setUint8(at, UINT16);
      view.setUint16(at + 1, small);
      return at + 3;
    }
    view.setUint8(at, UINT32);
    view.setInt32(at + 1, small);
    return at + 5;
  }
  if (value >>> 0 === value) {
    view.setUint8(at, UINT32);
    view.setUint32(at + 1, value);
    return at + 5;
  }
  if (Number.isSafeInteger(value)) {
    const high = Math.floor(value / 0x100000000);
    view.setUint8(at, UINT64);
    view.setUint32(at + 1, high);
    view.setUint32(at + 5, value - high * 0x100000000);
    return at + 9;
  }
  view.setUint8(at, FLOAT64);
  view.setFloat64(at + 1, value);
  return at + 9;
}
