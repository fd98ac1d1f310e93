import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineSplitter } from '../../../src/daemon/kube/line-splitter.ts';
import { findPodByAddress } from '../../../src/daemon/kube/pod-by-address.ts';
import { withoutFormer } from '../../../src/daemon/kube/watch.ts';
import { type Pod, readKubeObject } from '../../../src/kube/objects.ts';
import { backOffMs } from '../../../src/net/back-off.ts';
import { makePod } from './small-api-server.ts';

const at = (seconds: number) => Date.UTC(2026, 0, 1) + seconds * 1000;
const stamp = (seconds: number) => `${new Date(at(seconds)).toISOString().slice(0, 19)}Z`;

function pod(name: string, times: { started?: number; deleted?: number; ip?: string; phase?: string; hostNetwork?: boolean } = {}): Pod {
  const { started, deleted, ip = '10.0.0.1', ...more } = times;
  return readKubeObject(
    'Pod',
    makePod(name, ip, {
      ...more,
      ...(started === undefined ? {} : { startTime: stamp(started) }),
      // the grace period of 30 s begins when the deletion is asked for
      ...(deleted === undefined ? {} : { deletionTimestamp: stamp(deleted + 30) }),
    }),
  )!;
}

for (const [what, pods, born, heard, wanted] of [
  ['the pod that has it', [pod('a')], 10, 11, 'a'],
  ['nobody', [pod('a', { ip: '10.0.0.2' })], 10, 11, undefined],
  ['a namespace that was there before', [pod('a', { started: 5 })], undefined, 10, 'a'],
  ['one in the network of its node', [pod('a', { hostNetwork: true })], 10, 11, undefined],
  ['one that has ended', [pod('a', { phase: 'Succeeded' }), pod('b')], 10, 11, 'b'],
  ['two that live', [pod('a'), pod('b')], 10, 11, undefined],
  ['nothing was heard since the namespace came to be: the former one may still be listed', [pod('a', { started: 1 })], 10, 10, undefined],
  ['nothing was ever heard', [pod('a', { started: 1 })], 10, Number.NaN, undefined],
  ['deleted before, the new one not yet told', [pod('a', { started: 1, deleted: 8 })], 10, 11, undefined],
  ['deleted before, the new one told', [pod('a', { started: 1, deleted: 8 }), pod('b', { started: 9 })], 10, 11, 'b'],
  ['deleted since: its own namespace', [pod('a', { started: 1, deleted: 15 })], 10, 20, 'a'],
  [
    'deleted since, and the address given on: the old namespace is still the old one',
    [pod('a', { started: 1, deleted: 15 }), pod('b', { started: 18 })],
    10,
    20,
    'a',
  ],
  ['deleted, and nobody knows when the namespace came', [pod('a', { deleted: 5 })], undefined, 20, undefined],
  ['taken on after the namespace came', [pod('a', { started: 11 })], 10, 20, undefined],
  ['taken on in the same second', [pod('a', { started: 10 })], 10.3, 20, 'a'],
] as const)
  test(`an address names: ${what}`, () => {
    const own = pods.map((pod) => ({ pod }));
    const found = findPodByAddress(own, '10.0.0.1', born === undefined ? undefined : at(born), { heardMs: at(heard), followedSinceMs: 0 });
    assert.equal(found?.name, wanted);
  });

test('a pod that was heard of only after the namespace came is not its own, unless events were not followed by then', () => {
  const own = [{ pod: pod('a', { started: 10 }), seenMs: at(10.8) }];
  const find = (born: number, followedSinceMs: number) =>
    findPodByAddress(own, '10.0.0.1', at(born), { heardMs: at(20), followedSinceMs })?.name;
  assert.deepEqual([find(10.5, at(1)), find(10.75, at(1)), find(10.9, at(1)), find(10.5, at(10.6))], [undefined, 'a', 'a', 'a']);
});

test('of an address that was given on, the pod that is to go is not named', () => {
  const names = (pods: Pod[]) => withoutFormer(pods).map(({ name }) => name);
  assert.deepEqual(names([pod('a', { deleted: 1 }), pod('b')]), ['b']);
  assert.deepEqual(names([pod('a', { deleted: 1 }), pod('b', { ip: '10.0.0.2' })]), ['a', 'b']);
  assert.deepEqual(names([pod('a', { deleted: 1 }), pod('b', { hostNetwork: true })]), ['a', 'b']);
});

test('a wait is doubled up to its limit and spread over its half', () => {
  const times = { firstMs: 500, mostMs: 10_000 };
  assert.deepEqual(
    [1, 2, 3, 6, 100].map((failures) => backOffMs(times, failures, 0)),
    [250, 500, 1000, 5000, 5000],
  );
  assert.deepEqual(
    [1, 2, 6].map((failures) => backOffMs(times, failures, 0.999)),
    [500, 1000, 9995],
  );
});

test('lines are the same however the chunks are cut; one that is too long is refused', () => {
  const text = 'one\n\ntwo\nthree';
  for (let cut = 0; cut <= text.length; cut++)
    for (let second = cut; second <= text.length; second++) {
      const lines: string[] = [];
      const splitter = new LineSplitter(5);
      for (const part of [text.slice(0, cut), text.slice(cut, second), text.slice(second), '\n'])
        assert.equal(
          splitter.add(Buffer.from(part), (line) => lines.push(line.toString())),
          true,
        );
      assert.deepEqual(lines, ['one', 'two', 'three']);
    }
  assert.equal(
    new LineSplitter(2).add(Buffer.from('one\n'), () => {}),
    false,
  );
  const slow = new LineSplitter(2);
  assert.deepEqual([slow.add(Buffer.from('on'), () => {}), slow.add(Buffer.from('e'), () => {})], [true, false]);
});
