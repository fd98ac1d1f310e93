/**
 * `-o hubble`: GetFlowsResponse, one JSON object a line, as `hubble observe --input-file` reads it. What Hubble has no field for (rule, decision, byte counters, joins) goes into
 * `flow.extensions` as a google.protobuf.Struct, the one type that its client decodes there without a warning.
 *
 * proto3 JSON: names as in the .proto, enums by name, zero values left out, 64-bit integers as strings. The client reads lines up to 64 KiB: a longer one loses its extension first.
 * Source: cilium api/v1/flow/flow.proto, api/v1/observer/observer.proto; hubble/pkg/defaults, io_reader_observer.go.
 */
import type { AnyRecord, FlowRecord, LostRecord, PathRecord, Peer } from '../record/record.ts';
import { formatJson } from './escape.ts';
import { FlowMemory } from './flow-memory.ts';
import { eventsOfFlow, eventsOfPath, type HubbleEvent, requestUrl, tracePoints } from './hubble-event.ts';
import type { Sink, SinkFormat } from './sink.ts';
import { flagNames } from './tcp-flags.ts';
import type { Writer } from './writer.ts';

/** Go's bufio.Scanner stops at 64 KiB, the line feed included; a rest is kept for bytes beyond ASCII. */
const LINE_MAX = 60_000;
const STRUCT = 'type.googleapis.com/google.protobuf.Struct';
const EVENT_DROP = 1;
const EVENT_TRACE = 4;
const EVENT_L7 = 129;

export const hubble: SinkFormat = {
  name: 'hubble',
  summary: "Hubble's flow JSON: hubble observe --input-file FILE reads it",
  create: (writer) => new HubbleSink(writer),
};

class HubbleSink implements Sink {
  readonly #writer: Writer;
  readonly #flows = new FlowMemory();
  readonly #waiting: PathRecord[] = [];

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  context(flow: FlowRecord): void {
    this.#flows.remember(flow);
  }

  write(record: AnyRecord): void {
    switch (record.type) {
      case 'flow':
        this.#flows.remember(record);
        for (const event of eventsOfFlow(record)) this.#writer.text(`${hubbleLine(event)}\n`);
        break;
      case 'path':
        if (this.#flows.find(record.legs[0]?.flow ?? '') === undefined) this.#waiting.push(record);
        else this.#path(record);
        break;
      case 'lost':
        this.#writer.text(`${lostLine(record)}\n`);
        break;
      case 'finding':
      case 'total':
        break;
    }
  }

  end(): void {
    for (const path of this.#waiting) this.#path(path);
    this.#writer.flush();
  }

  #path(path: PathRecord): void {
    for (const event of eventsOfPath(path, this.#flows.find(path.legs[0]?.flow ?? ''))) this.#writer.text(`${hubbleLine(event)}\n`);
    this.#flows.release(path);
  }
}

/** One event as a GetFlowsResponse in proto3 JSON. */
export function hubbleLine(event: HubbleEvent): string {
  const full = formatJson(response(event, extension(event)));
  return full.length <= LINE_MAX ? full : formatJson(response(event, undefined));
}

function response(event: HubbleEvent, extensions: object | undefined): object {
  return { flow: { ...flowMessage(event), ...(extensions === undefined ? {} : { extensions }) }, node_name: event.node, time: event.time };
}

function flowMessage(event: HubbleEvent): object {
  const { flow, source, destination } = event;
  const point = event.point === undefined ? undefined : tracePoints[event.point];
  const proxyPort = flow.rule?.verdict === 'REDIRECT' || flow.rule?.verdict === 'TPROXY' ? flow.rule.port : undefined;
  return compactObject({
    time: event.time,
    uuid: event.path?.id ?? flow.id,
    verdict: event.verdict,
    IP: { source: source.ip, destination: destination.ip, ipVersion: source.ip.includes(':') ? 'IPv6' : 'IPv4' },
    l4: transport(event),
    source: endpoint(source),
    destination: endpoint(destination),
    Type: event.kind === 'http' || event.kind === 'dns' ? 'L7' : 'L3_L4',
    node_name: event.node,
    l7: layer7(event),
    event_type: eventType(event, point?.subType),
    source_service: service(source),
    destination_service: service(destination),
    traffic_direction: event.direction,
    trace_observation_point: point?.enumName,
    interface: flow.interfaces[0] === undefined ? undefined : { name: flow.interfaces[0] },
    proxy_port: event.kind === 'trace' ? proxyPort : undefined,
    is_reply: event.reply,
    Summary: event.summary,
  });
}

function eventType(event: HubbleEvent, subType: number | undefined): object {
  if (event.kind === 'drop') return { type: EVENT_DROP };
  if (event.kind !== 'trace') return { type: EVENT_L7 };
  return subType === undefined || subType === 0 ? { type: EVENT_TRACE } : { type: EVENT_TRACE, sub_type: subType };
}

function transport({ flow, source, destination, reply, kind }: HubbleEvent): object | undefined {
  const ports = compactObject({ source_port: source.port || undefined, destination_port: destination.port || undefined });
  switch (flow.protocol) {
    case 'tcp': {
      const names = kind === 'trace' || kind === 'drop' ? flagNames(flow.tcp?.flags[reply ? 'toSource' : 'toDestination'] ?? '') : [];
      return { TCP: names.length === 0 ? ports : { ...ports, flags: Object.fromEntries(names.map((name) => [name, true])) } };
    }
    case 'udp':
      return { UDP: ports };
    case 'sctp':
      return { SCTP: ports };
    case 'icmp':
    case 'icmpv6': {
      const message = compactObject({ type: flow.icmp?.type || undefined, code: flow.icmp?.code || undefined });
      return { [flow.protocol === 'icmp' ? 'ICMPv4' : 'ICMPv6']: message };
    }
    default:
      return undefined;
  }
}

function layer7({ kind, flow, path, reply, latencyMs }: HubbleEvent): object | undefined {
  const type = reply ? 'RESPONSE' : 'REQUEST';
  const latency = latencyMs === undefined ? undefined : String(Math.round(latencyMs * 1e6));
  if (kind === 'http' && path?.request !== undefined) {
    const { method, status, id } = path.request;
    const headers = id === undefined ? undefined : [{ key: 'x-request-id', value: id }];
    return compactObject({
      type,
      latency_ns: latency,
      http: compactObject({ code: reply ? status : undefined, method, url: requestUrl(path), headers }),
    });
  }
  if (kind === 'dns' && flow.dns !== undefined) {
    const { question, kind: queryType, rcode, answers = [] } = flow.dns;
    const addresses = answers.filter((answer) => /^[\d.]+$|:/.test(answer));
    const names = answers.filter((answer) => !addresses.includes(answer));
    const answered = reply
      ? { ips: addresses.length === 0 ? undefined : addresses, cnames: names.length === 0 ? undefined : names, rcode: rcodes[rcode ?? ''] }
      : {};
    return {
      type,
      dns: compactObject({
        query: question.endsWith('.') ? question : `${question}.`,
        ...answered,
        observation_source: 'proxy',
        qtypes: [queryType],
      }),
    };
  }
  return undefined;
}

// Source: IANA DNS RCODEs. NOERROR is 0, which proto3 JSON leaves out.
const rcodes: { readonly [name: string]: number | undefined } = { FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 };

function endpoint(peer: Peer): object | undefined {
  const [namespace, name] = splitName(peer.pod);
  if (name === undefined) return undefined;
  const [, workload] = splitName(peer.workload);
  return compactObject({ namespace, pod_name: name, workloads: workload === undefined ? undefined : [{ name: workload }] });
}

function service(peer: Peer): object | undefined {
  const [namespace, name] = splitName(peer.service);
  return name === undefined ? undefined : { name, namespace };
}

function splitName(qualified: string | undefined): [string | undefined, string | undefined] {
  if (qualified === undefined) return [undefined, undefined];
  const slash = qualified.indexOf('/');
  return slash === -1 ? ['', qualified] : [qualified.slice(0, slash), qualified.slice(slash + 1)];
}

/** What Hubble has no field for. Counters are strings, since a Struct holds doubles. */
function extension({ kind, flow, path }: HubbleEvent): object {
  const value =
    kind === 'http' && path !== undefined
      ? { path: path.id, complete: path.complete, legs: path.legs, joins: path.joins, decisions: path.decisions, latency: path.latency }
      : {
          flow: flow.id,
          state: flow.state,
          first: flow.first,
          last: flow.last,
          netns: flow.netns,
          roles: flow.roles,
          counters: {
            toDestination: { packets: String(flow.counters.toDestination.packets), bytes: String(flow.counters.toDestination.bytes) },
            toSource: { packets: String(flow.counters.toSource.packets), bytes: String(flow.counters.toSource.bytes) },
          },
          translated: flow.translated,
          owner: flow.owner,
          rule: ordered(flow.rule),
          envoy: flow.envoy,
          tls: flow.tls,
          rttMs: flow.tcp?.rttMs,
          paths: flow.paths,
        };
  return { '@type': STRUCT, value };
}

/** The same text whatever the order in which the fields were set. */
function ordered(rule: FlowRecord['rule']): object | undefined {
  if (rule === undefined) return undefined;
  const { verdict, port, evidence, reason, steps } = rule;
  return { verdict, port, evidence, reason, steps };
}

/** The nearest of Hubble's sources: the capture ring, or our own queues. Source: flow.proto LostEventSource. */
function lostLine(lost: LostRecord): string {
  const source = lost.scope.subscriber === undefined ? 'PERF_EVENT_RING_BUFFER' : 'OBSERVER_EVENTS_QUEUE';
  return formatJson({
    lost_events: { source, num_events_lost: String(lost.count) },
    node_name: lost.scope.node,
    time: lost.last,
  });
}

function compactObject(object: { [key: string]: unknown }): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
