/** Whatever one connection does to the judges, the others are told. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Engine } from '../../../src/daemon/engine/engine.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { LiveWorld } from '../../../src/world/live.ts';
import { ETHERTYPE, ipv4, PROTOCOL, sll2, tcp } from '../../decode/frames.ts';
import { probeFrame } from './probe-frame.ts';

const BASE = { epochSeconds: 1_700_000_000 };
const SYN = 0x02;
const RST = 0x14;

/** A connection that is refused. */
function refused(atNs: number, to: string, port: number): Uint8Array[] {
  const packet = (src: string, dst: string, from: number, at: number, flags: number) =>
    sll2(
      ETHERTYPE.ipv4,
      ipv4({ protocol: PROTOCOL.tcp, src, dst }, tcp({ src: from, dst: at, flags, seq: 1, ack: 2, window: 1 }, [])),
      2,
      flags === SYN ? 4 : 0,
    );
  return [
    probeFrame(BASE.epochSeconds, atNs, packet('10.0.0.1', to, port, 80, SYN)),
    probeFrame(BASE.epochSeconds, atNs + 1000, packet(to, '10.0.0.1', 80, port, RST)),
  ];
}

function run(names: KubeNames): AnyRecord[] {
  const records: AnyRecord[] = [];
  const engine = new Engine({ node: 'n', redact: true, base: BASE, seed: 1 }, (record) => records.push(record));
  const world = new LiveWorld({ node: 'n', netns: 'a' }, BASE, () => names);
  const namespace = engine.open(1n, world);
  for (const [i, to] of ['10.0.0.2', '10.0.0.66', '10.0.0.3'].entries())
    for (const payload of refused(1e9 + i * 1e6, to, 40_000 + i)) namespace.observeProbeFrames(payload);
  for (let nowNs = 1.25e9; nowNs < 30e9; nowNs += 250e6) engine.tick(nowNs);
  assert.equal(namespace.flowCount, 0, 'all of them are forgotten in the end');
  engine.finish(30e9);
  return records;
}

class FailingNames extends KubeNames {
  override podByIp(ip: string): undefined {
    if (ip === '10.0.0.66') throw new RangeError('this address makes it fail');
    return undefined;
  }
}

test('a connection that makes a judge fail is left out and told as lost; the others are told', () => {
  const records = run(new FailingNames());
  const closed = records.filter((record) => record.type === 'flow' && record.event === 'close');
  assert.deepEqual(closed.map((record) => record.type === 'flow' && record.destination.ip).sort(), ['10.0.0.2', '10.0.0.3']);
  const lost = records.filter((record) => record.type === 'lost');
  assert.deepEqual(
    lost.map(({ source, count, detail }) => [source, count, detail]),
    [['engine', 1, 'Cannot judge 1 flows: this address makes it fail']],
  );
});

test('where nothing fails each has its path, and nothing is lost', () => {
  const whole = run(new KubeNames());
  assert.equal(whole.filter((record) => record.type === 'path' && record.event === 'close').length, 3);
  assert.equal(whole.filter((record) => record.type === 'lost').length, 0);
});
