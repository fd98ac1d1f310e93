/** A small mesh of records from a seed: requests over shared upstream connections, raw connections, questions, findings. */
import type { AnyRecord, FlowRecord, PathRecord } from '../../src/record/record.ts';
import { finding, flowOf, inboundDecision, lost, outboundDecision, question, requestFlows, requestPath } from '../output/samples.ts';

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const hex = (kind: string, i: number): string => kind + i.toString(16).padStart(16 - kind.length, '0');
const time = (second: number): string =>
  `2026-11-23T06:${String(22 + Math.floor(second / 60)).padStart(2, '0')}:${String(second % 60).padStart(2, '0')}.000000000Z`;

/** Each id once; flows name their paths. Not longer than an hour. */
export function meshRecords(requests: number, seed: number): AnyRecord[] {
  const next = random(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
  const flows = new Map<string, FlowRecord>();
  const paths: PathRecord[] = [];
  const [toProxy, upstream] = requestFlows as [FlowRecord, FlowRecord];
  for (let i = 0; i < requests; i++) {
    const pod = pick(['client', 'ratings-v1', 'reviews-v2']);
    const namespace = pick(['default', 'shop']);
    const first = time(i % 120);
    const down = hex('fa', i);
    const up = hex('fb', Math.floor(next() * (requests / 4 + 1)));
    const path = hex('ad', i);
    flows.set(down, {
      ...toProxy,
      id: down,
      first,
      last: first,
      source: { ip: `10.244.1.${i % 200}`, port: 30_000 + i, pod: `${namespace}/${pod}` },
      destination: { ip: '10.96.141.2', port: pick([80, 9080]), service: pick(['default/productpage', 'shop/details']) },
      envoy: { ...outboundDecision, cluster: pick(['outbound|9080||productpage', 'outbound|80||details']) },
      paths: [path],
    });
    const known = flows.get(up) ?? { ...upstream, id: up, first, last: first, paths: [], envoy: inboundDecision };
    flows.set(up, { ...known, last: first, paths: [...(known.paths ?? []), path].slice(-16), pathCount: (known.pathCount ?? 0) + 1 });
    paths.push({
      ...requestPath,
      id: path,
      first,
      last: first,
      legs: [
        { flow: down, roles: ['app-to-proxy'], node: 'node-a', netns: 'cni-client' },
        { flow: up, roles: ['proxy-to-upstream'], node: 'node-a', netns: 'cni-client' },
      ],
      joins: [{ from: 0, to: 1, by: 'order', evidence: 'derived' }],
      latency: [],
      request: {
        method: pick(['GET', 'POST']),
        authority: 'productpage:9080',
        path: pick(['/', '/productpage', '/api/v1']),
        status: pick([200, 404, 503]),
      },
    });
  }
  const others: AnyRecord[] = [];
  for (let i = 0; i < requests / 4; i++) {
    const at = time(Math.floor(next() * 120));
    others.push(flowOf({ id: hex('c', i), first: at, last: at, destination: { ip: `192.0.2.${i % 250}`, port: pick([80, 443, 53]) } }));
    others.push({ ...question, id: hex('d', i), first: at, last: at });
    others.push({ ...finding, id: hex('e', i), rule: pick(['no-route', 'refused-by-app']), flows: [pick([...flows.keys()])], paths: [] });
  }
  const findingsOf = new Map<string, string[]>();
  for (const record of others)
    if (record.type === 'finding') for (const flow of record.flows) findingsOf.set(flow, [...(findingsOf.get(flow) ?? []), record.id]);
  const all = [...flows.values()].map((flow) => (findingsOf.has(flow.id) ? { ...flow, findings: findingsOf.get(flow.id)! } : flow));
  return [...all, ...others, ...paths, lost];
}
