/**
 * The records of record.ts as values that can be checked: each schema says the same as the interface of that name, and the compiler holds the two against each other.
 * docs/records.schema.json is made from these (json-schema.ts).
 *
 * The schemas are strict: a field that is not in the contract is a fault. Within one version of the contract fields may be added, so readers ignore those that they do not know.
 */
import * as v from 'valibot';
import { type Reason, reasons } from './reason.ts';
import type { AnyRecord, Decision, FindingRecord, FlowRecord, LostRecord, PathRecord, RuleVerdict, TotalRecord } from './record.ts';

/** Version of the contract: it rises when the meaning of a field changes, or a field goes. */
export const CONTRACT_VERSION = 1;

/** RFC 3339, UTC, nine digits. */
const time = v.pipe(v.string(), v.regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$/));
const id = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
const unsigned32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const milliseconds = v.number();
const text = v.string();

const evidence = v.picklist(['observed', 'derived', 'ambiguous', 'unavailable']);
const reason = v.picklist(Object.keys(reasons) as Reason[]);
const event = v.picklist(['open', 'update', 'close']);
const leg = v.picklist([
  'app-to-proxy',
  'proxy-to-upstream',
  'client-to-proxy',
  'proxy-to-app',
  'app-to-self',
  'direct',
  'app-to-dns-agent',
  'dns-agent-to-resolver',
  'hbone',
  'probe',
  'control',
  'telemetry',
  'admin',
  'loopback',
  'unknown',
]);
const roles = v.pipe(v.array(leg), v.minLength(1));

const endpoint = v.strictObject({ ip: text, port });
const peer = v.strictObject({
  ip: text,
  port: v.exactOptional(port),
  pod: v.exactOptional(text),
  service: v.exactOptional(text),
  workload: v.exactOptional(text),
});
const counter = v.strictObject({ packets: count, bytes: count });

const ruleStep = v.strictObject({ table: text, chain: text, index: v.pipe(v.number(), v.integer(), v.minValue(1)), text });

const rule = v.strictObject({
  verdict: v.picklist(['REDIRECT', 'TPROXY', 'DNAT', 'ACCEPT', 'DROP', 'unknown']),
  port: v.exactOptional(port),
  evidence,
  reason: v.exactOptional(reason),
  steps: v.array(ruleStep),
});

const decision = v.strictObject({
  outcome: v.picklist([
    'forwarded',
    'direct-response',
    'redirect',
    'no-listener',
    'no-chain',
    'no-route',
    'no-cluster',
    'no-endpoint',
    'denied',
    'fault',
    'black-hole',
    'unknown',
  ]),
  listener: v.exactOptional(text),
  chain: v.exactOptional(text),
  chainIndex: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(-1))),
  route: v.exactOptional(text),
  virtualHost: v.exactOptional(text),
  cluster: v.exactOptional(text),
  endpoint: v.exactOptional(text),
  evidence: v.record(text, evidence),
  candidates: v.exactOptional(
    v.strictObject({
      cluster: v.exactOptional(v.array(text)),
      endpoint: v.exactOptional(v.array(text)),
      route: v.exactOptional(v.array(text)),
      chain: v.exactOptional(v.array(text)),
    }),
  ),
  rejected: v.exactOptional(v.array(v.strictObject({ candidate: text, because: reason }))),
  configuration: v.exactOptional(v.strictObject({ version: text, readAt: text })),
  reason: v.exactOptional(reason),
});

const flow = v.strictObject({
  type: v.literal('flow'),
  id,
  event,
  state: v.picklist(['open', 'closed', 'reset', 'refused', 'unanswered', 'unreachable']),
  midstream: v.exactOptional(v.literal(true)),
  node: text,
  netns: text,
  pod: v.exactOptional(v.strictObject({ namespace: text, name: text, uid: text })),
  protocol: text,
  first: time,
  last: time,
  source: peer,
  destination: peer,
  zone: v.exactOptional(port),
  interfaces: v.array(text),
  tunnel: v.exactOptional(
    v.strictObject({ kind: text, id: v.exactOptional(unsigned32), outer: v.strictObject({ source: text, destination: text }) }),
  ),
  translated: v.exactOptional(v.strictObject({ source: endpoint, destination: endpoint, evidence })),
  halves: v.exactOptional(v.strictObject({ by: v.picklist(['conntrack', 'sequence']), evidence })),
  owner: v.exactOptional(
    v.strictObject({
      uid: v.exactOptional(unsigned32),
      gid: v.exactOptional(unsigned32),
      pid: v.exactOptional(count),
      process: v.exactOptional(text),
      evidence,
    }),
  ),
  roles,
  counters: v.strictObject({ toDestination: counter, toSource: counter }),
  tcp: v.exactOptional(
    v.strictObject({
      flags: v.strictObject({ toDestination: text, toSource: text }),
      isn: v.exactOptional(v.strictObject({ toDestination: v.exactOptional(unsigned32), toSource: v.exactOptional(unsigned32) })),
      rttMs: v.exactOptional(milliseconds),
      handshakeMs: v.exactOptional(milliseconds),
      retransmissions: count,
      outOfOrder: count,
      zeroWindows: count,
    }),
  ),
  icmp: v.exactOptional(v.strictObject({ type: count, code: count, id: v.exactOptional(port) })),
  dns: v.exactOptional(
    v.strictObject({ question: text, kind: text, rcode: v.exactOptional(text), answers: v.exactOptional(v.array(text)) }),
  ),
  rule: v.exactOptional(rule),
  envoy: v.exactOptional(decision),
  tls: v.exactOptional(
    v.strictObject({
      version: v.exactOptional(text),
      sni: v.exactOptional(text),
      alpn: v.exactOptional(v.array(text)),
      mutual: v.exactOptional(v.boolean()),
      peer: v.exactOptional(text),
      evidence,
    }),
  ),
  paths: v.exactOptional(v.array(id)),
  pathCount: v.exactOptional(count),
  findings: v.exactOptional(v.array(id)),
});

const path = v.strictObject({
  type: v.literal('path'),
  id,
  event,
  of: v.picklist(['connection', 'request']),
  first: time,
  last: time,
  complete: v.boolean(),
  parent: v.exactOptional(id),
  legs: v.pipe(v.array(v.strictObject({ flow: id, roles, node: text, netns: text, seq: v.exactOptional(unsigned32) })), v.minLength(1)),
  joins: v.array(
    v.strictObject({
      from: count,
      to: count,
      by: v.picklist(['tuple', 'access-log', 'request-id', 'order']),
      evidence,
      candidates: v.exactOptional(v.array(id)),
      reason: v.exactOptional(reason),
    }),
  ),
  request: v.exactOptional(
    v.strictObject({
      method: v.exactOptional(text),
      authority: v.exactOptional(text),
      path: v.exactOptional(text),
      status: v.exactOptional(count),
      id: v.exactOptional(text),
    }),
  ),
  decisions: v.exactOptional(v.array(v.strictObject({ netns: text, decision }))),
  latency: v.exactOptional(v.array(v.strictObject({ leg: count, ms: milliseconds, evidence }))),
});

const finding = v.strictObject({
  type: v.literal('finding'),
  id,
  rule: v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]*$/)),
  severity: v.picklist(['error', 'warning', 'info']),
  title: text,
  proof: v.pipe(v.array(text), v.minLength(1)),
  fix: text,
  flows: v.array(id),
  paths: v.array(id),
});

const lost = v.strictObject({
  type: v.literal('lost'),
  source: text,
  scope: v.strictObject({ node: text, netns: v.exactOptional(text), subscriber: v.exactOptional(text) }),
  count,
  exact: v.boolean(),
  total: count,
  first: time,
  last: time,
  detail: v.exactOptional(text),
});

const total = v.strictObject({
  type: v.literal('total'),
  packets: count,
  bytes: count,
  flows: count,
  paths: count,
  findings: count,
  lost: count,
  unknown: v.record(text, count),
});

/** By their `type`. */
export const recordSchemas = { flow, path, finding, lost, total } as const;

/** Any record. */
export const recordSchema = v.variant('type', [flow, path, finding, lost, total]);

/** What several schemas have in common, by the name that the JSON Schema gives it. */
export const namedSchemas = { time, id, evidence, reason, leg, endpoint, peer, counter, ruleStep, rule, decision } as const;

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Agrees<T extends true> = T;
/** Fails to compile where a schema and its interface differ. */
export type SchemaAgreement = [
  Agrees<Same<v.InferOutput<typeof rule>, RuleVerdict>>,
  Agrees<Same<v.InferOutput<typeof decision>, Decision>>,
  Agrees<Same<v.InferOutput<typeof flow>, FlowRecord>>,
  Agrees<Same<v.InferOutput<typeof path>, PathRecord>>,
  Agrees<Same<v.InferOutput<typeof finding>, FindingRecord>>,
  Agrees<Same<v.InferOutput<typeof lost>, LostRecord>>,
  Agrees<Same<v.InferOutput<typeof total>, TotalRecord>>,
  Agrees<Same<v.InferOutput<typeof recordSchema>, AnyRecord>>,
];
