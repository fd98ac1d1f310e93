/**
 * Two daemons on the nodes of a real mesh, random traffic of every kind, and what they told live against what every Envoy logged and every pod's conntrack recorded.
 * The daemons read no access log.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { buildProbe } from './daemon.ts';
import { holds, judge, tell } from './judge.ts';
import { Lab, MODES, type Mode, makeFolder } from './lab.ts';
import { meshDaemons, startAll } from './mesh-daemons.ts';
import { Observer } from './observer.ts';
import { clients, type Done, make, serveOutside } from './traffic.ts';
import { listen } from './witness.ts';

const PHASES = [
  { name: '1', concurrent: 1, acts: 30, seed: 1 },
  { name: '10', concurrent: 10, acts: 80, seed: 2 },
  { name: '100', concurrent: 100, acts: 120, seed: 3 },
];
const wanted = (process.env.SYSTEM_MODES ?? MODES.join(',')).split(',');
const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Requests that went from a proxy of one node to a proxy of the other, as one path with the legs of both. */
function acrossNodes(flows: readonly FlowRecord[], paths: readonly PathRecord[]): { whole: number; crossing: number } {
  const nodes = new Map<string, Set<string>>();
  const key = ({ source, destination, tcp }: FlowRecord) =>
    `${source.ip}:${source.port} ${destination.ip}:${destination.port} ${tcp?.isn?.toDestination}`;
  for (const flow of flows) {
    if (flow.protocol !== 'tcp' || flow.tcp?.isn?.toDestination === undefined) continue;
    const known = nodes.get(key(flow));
    if (known === undefined) nodes.set(key(flow), new Set([flow.node]));
    else known.add(flow.node);
  }
  const byId = new Map(flows.map((flow) => [`${flow.node} ${flow.id}`, flow]));
  let whole = 0;
  let crossing = 0;
  for (const path of paths) {
    // A path that begins at the server's proxy is one whose client's proxy could not say which of several it was.
    const goesOn = path.legs.some((leg) => {
      const flow = byId.get(`${leg.node} ${leg.flow}`);
      return flow !== undefined && leg.roles.includes('proxy-to-upstream') && nodes.get(key(flow))?.size === 2;
    });
    if (!goesOn) continue;
    crossing++;
    if (new Set(path.legs.map((leg) => leg.node)).size === 2) whole++;
  }
  return { whole, crossing };
}

/** @param runs traffic comes before the daemons do: connections that they did not see begin are used on */
async function truthLive(t: TestContext, mode: Mode, runs = false): Promise<void> {
  buildProbe();
  const folder = makeFolder();
  const lab = Lab.bringUp(mode);
  lab.apply(readFileSync(resolve('test/mesh/objects/random.yaml'), 'utf8'));
  serveOutside(lab);
  const pods = lab.pods().filter(({ app }) => app !== 'istiod');
  const daemons = meshDaemons(lab, folder);
  const observers: Observer[] = [];
  try {
    mkdirSync(join(folder, 'did'));
    if (runs) await make(clients(lab), join(folder, 'did'), { name: 'before', concurrent: 10, acts: 60, seed: 4 });
    await startAll(daemons, pods);
    observers.push(...daemons.map((daemon) => new Observer(daemon.node, folder, [daemon.server])));
    observers.push(
      new Observer(
        'both',
        folder,
        daemons.map(({ server }) => server),
        // Two processors for two nodes, their pods and all who ask: a node may tell seconds after the other.
        ['--wait', '6s'],
      ),
    );
    const hearing = listen(lab, pods, folder);
    for (const daemon of daemons) await daemon.serving(2);
    await pause(3);
    const did = new Map<string, Done[]>();
    for (const phase of PHASES) {
      did.set(phase.name, await make(clients(lab), join(folder, 'did'), phase));
      await pause(2);
    }
    await pause(8);
    const testimony = await hearing();
    const stopped = await Promise.all(daemons.map((daemon) => daemon.stop()));
    await Promise.all(observers.map((observer) => observer.stop()));
    const [a, b, both] = await Promise.all(observers.map((observer) => observer.read()));
    const lost = [...a!.lost, ...b!.lost];
    t.diagnostic(
      `${[...did.values()].flat().length} requests and connections made; ${a!.lines + b!.lines} records; stopped with ${stopped.map(({ code, ms }) => `${code} in ${ms.toFixed(0)} ms`).join(', ')}`,
    );
    for (const { source, scope, count, detail } of lost.slice(0, 10))
      t.diagnostic(`lost: ${source} ${scope.node} ${scope.netns ?? ''} ${count} ${detail ?? ''}`);

    const alone = judge({ flows: [...a!.flows, ...b!.flows], paths: [...a!.paths, ...b!.paths] }, testimony, did);
    tell(t, alone);
    const together = judge(both!, testimony, did);
    const across = acrossNodes(both!.flows, both!.paths);
    t.diagnostic(
      `observe on both: ${across.whole} of ${across.crossing} paths between the nodes have the legs of both; ${together.all.wrong.length} wrong`,
    );
    for (const sentence of together.all.wrong.slice(0, 5)) t.diagnostic(`wrong on both: ${sentence}`);

    assert.deepEqual(
      stopped.map(({ code, ms }) => [code, ms < 5000]),
      [
        [0, true],
        [0, true],
      ],
    );
    holds(alone, { entriesAtLeast: 1000, ...(runs ? { named: 0.99 } : {}) });
    if (runs) assert.deepEqual([...together.all.wrong, ...together.translations.wrong], []);
    else {
      holds(together, { entriesAtLeast: 1000 });
      assert.ok(
        across.crossing > 0 && across.whole >= across.crossing * 0.95,
        `${across.whole} of ${across.crossing} paths between the nodes are whole`,
      );
    }
    rmSync(folder, { recursive: true });
  } catch (error) {
    t.diagnostic(`what was observed and logged is in ${folder}`);
    for (const observer of observers) t.diagnostic(`observe said: ${observer.messages().slice(-400)}`);
    throw error;
  } finally {
    for (const daemon of daemons) await daemon.stop().catch(() => undefined);
    for (const observer of observers) await observer.stop().catch(() => undefined);
  }
}

for (const mode of MODES) {
  test(`${mode}: what two daemons tell of random traffic is what Envoy and the kernel say`, { skip: !wanted.includes(mode) }, (t) =>
    truthLive(t, mode),
  );
  // In the same mesh: another mode is another mesh.
  if (mode === 'redirect')
    test(`${mode}: daemons that come to a mesh that runs say nothing wrong`, { skip: !wanted.includes(mode) }, (t) =>
      truthLive(t, mode, true),
    );
}
