import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { packetStream } from '../../../src/daemon/evidence/packet-stream.ts';
import { BlockSplitter, packetBlocks } from '../../../src/daemon/evidence/pcapng-frames.ts';
import { framesPayload, numbered, readBack } from './frames.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-stream-'));
after(() => rmSync(folder, { recursive: true }));

function tapped() {
  const listeners = new Set<(payload: Uint8Array) => void>();
  const state = {
    status: 'capturing' as 'capturing' | 'gone',
    kernel: 0,
    totals: undefined as { frames: number; lost: number } | undefined,
  };
  const namespace = {
    get status() {
      return state.status;
    },
    tap: (listener: (payload: Uint8Array) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const options = {
    application: 'test',
    snapLength: 0,
    filter: '',
    comment: 'of a pod',
    queueBytes: 20_000,
    kernelLost: () => state.kernel,
    onEnd: (totals: { frames: number; lost: number }) => {
      state.totals = totals;
    },
    now: () => 1_700_000_000_000,
  };
  const send = (from: number, count: number): void => {
    for (const listener of listeners) listener(framesPayload(numbered(from, count)));
  };
  return { namespace, options, send, state, listeners };
}

let made = 0;
function asFile(chunks: readonly Uint8Array[]): ReturnType<typeof readBack> {
  const path = join(folder, `${++made}.pcapng`);
  writeFileSync(path, Buffer.concat(chunks));
  return readBack(path);
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

test('a reader that keeps up gets every frame, in order', async () => {
  const { namespace, options, send, state, listeners } = tapped();
  const controller = new AbortController();
  const chunks: Uint8Array[] = [];
  const stream = packetStream(namespace, options, controller.signal);
  chunks.push((await stream.next()).value!);
  for (let i = 0; i < 100; i++) {
    send(i * 10, 10);
    chunks.push((await stream.next()).value!);
  }
  const end = stream.next();
  state.status = 'gone';
  controller.abort();
  assert.equal((await end).done, true);
  const back = asFile(chunks);
  assert.deepEqual(back.numbers, range(0, 1000));
  assert.deepEqual(back.losses, []);
  assert.deepEqual(state.totals, { frames: 1000, lost: 0 });
  assert.equal(listeners.size, 0);
});

test('what a slow reader loses is counted, and stands before the next frame that it gets', async () => {
  const { namespace, options, send, state } = tapped();
  const controller = new AbortController();
  const chunks: Uint8Array[] = [];
  const stream = packetStream(namespace, options, controller.signal);
  chunks.push((await stream.next()).value!);
  // 132 bytes a frame: 15 batches of ten fit into the queue
  for (let i = 0; i < 50; i++) send(i * 10, 10);
  state.kernel = 5;
  const next = async (): Promise<void> => {
    chunks.push((await stream.next()).value!);
  };
  for (let i = 0; i < 15; i++) await next();
  await next();
  send(500, 10);
  await next();
  controller.abort();
  await stream.return();
  const back = asFile(chunks);
  assert.deepEqual(back.numbers, [...range(0, 150), ...range(500, 10)]);
  const lost = (source: string): number => back.losses.filter((one) => one.source === source).reduce((sum, { count }) => sum + count, 0);
  assert.equal(lost('interface'), 350);
  assert.equal(lost('kernel'), 5);
  assert.equal(150 + 10 + lost('interface'), 510);
  assert.deepEqual(state.totals, { frames: 160, lost: 350 });
});

test('when the namespace goes the stream ends behind its last frame', async () => {
  const { namespace, options, send, state } = tapped();
  const chunks: Uint8Array[] = [];
  const stream = packetStream(namespace, options, new AbortController().signal);
  chunks.push((await stream.next()).value!);
  send(0, 10);
  state.status = 'gone';
  for await (const chunk of stream) chunks.push(chunk);
  assert.deepEqual(asFile(chunks).numbers, range(0, 10));
});

test('a stream cut into any pieces gives the same blocks', () => {
  const { blocks: whole } = packetBlocks(framesPayload(numbered(0, 20)));
  for (const step of [1, 3, 7, 100, 1000]) {
    const splitter = new BlockSplitter();
    const lengths: number[] = [];
    for (let at = 0; at < whole.length; at += step)
      splitter.push(whole.subarray(at, at + step), (_type, block) => lengths.push(block.length));
    assert.equal(splitter.pending, 0);
    assert.deepEqual(
      lengths,
      Array.from({ length: 20 }, () => 132),
    );
  }
  assert.throws(() => new BlockSplitter().push(Buffer.alloc(12), () => {}), SyntaxError);
  assert.throws(() => new BlockSplitter().push(Buffer.alloc(12, 0xff), () => {}), SyntaxError);
});
