/** The hops of one path are one request: every proxy on the way logged the same x-request-id for it, which encrypted legs do not show. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatEndpoint } from '../../src/net/address.ts';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { needsReference, referencePath } from '../reference.ts';
import { type Entry, logsOf } from './access-log.ts';
import { replayed } from './replayed.ts';

/** Envoy's stamps are cut to milliseconds. */
const STAMP_MS = 1.1;

const bare = (path: string) => path.split('?')[0]!;

/** The entry that this leg's proxy wrote for the path; `undefined` when none or several could be it. */
function entryOf(path: PathRecord, leg: FlowRecord, entries: readonly Entry[]): Entry | undefined {
  const from = (leg.translated ?? leg).source;
  const source = formatEndpoint(from.ip, from.port ?? 0);
  const local = formatEndpoint(leg.destination.ip, leg.destination.port ?? 0);
  const found = entries.filter((entry) => {
    if (entry.directRemote !== source || entry.local !== local) return false;
    const at = Date.parse(entry.at);
    return (
      at >= Date.parse(path.first) - STAMP_MS &&
      at <= Date.parse(path.last) + STAMP_MS &&
      bare(entry.path) === bare(path.request?.path ?? '')
    );
  });
  return found.length === 1 ? found[0] : undefined;
}

function judge(recording: string): { chains: number; different: string[] } {
  const logs = logsOf(recording);
  const { flows, paths } = replayed([recording]);
  const byId = new Map(flows.map((flow) => [flow.id, flow]));
  const different: string[] = [];
  let chains = 0;
  for (const path of paths) {
    if (path.of !== 'request') continue;
    const ids = path.legs.flatMap(({ flow, netns, roles }) => {
      if (!roles.includes('app-to-proxy') && !roles.includes('client-to-proxy')) return [];
      return entryOf(path, byId.get(flow)!, logs.get(netns) ?? [])?.requestId ?? [];
    });
    if (ids.length < 2) continue;
    chains++;
    if (new Set(ids).size > 1) different.push(`${path.id} ${path.request?.method} ${path.request?.path}: ${ids.join(', ')}`);
  }
  return { chains, different };
}

function compare(recording: string, least: number, skip: { skip: string | false }): void {
  test(`${recording}: the proxies of one path logged one request id`, skip, (t) => {
    const { chains, different } = judge(recording);
    t.diagnostic(`${chains} paths through more than one proxy compared`);
    assert.deepEqual(different, []);
    assert.ok(chains >= least, `only ${chains} paths could be compared`);
  });
}

compare(join('captures', 'bookinfo'), 20, { skip: false });
compare(join('captures', 'weighted-routes'), 5, { skip: false });
for (const name of ['bookinfo', 'routing']) compare(referencePath('bundles', name) ?? name, 5, needsReference('bundles', name));
