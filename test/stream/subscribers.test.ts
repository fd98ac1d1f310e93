import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { numberedMany, running } from './live.ts';

interface Seen {
  readonly last: number;
  readonly gaps: number;
  readonly lost: number;
  readonly bye: string;
  readonly code: number;
}

test('of 200 subscribers 20 stall and 20 send rubbish: the 160 others lose nothing, the stalled are told what they lost and closed', async (t) => {
  const { server, path } = await running(t, { flushMs: 10, stallMs: 2500, limits: { connections: 300 } }, false);
  const crowd = fork(join(import.meta.dirname, 'crowd.js'), [path, '160', '20', '20'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.after(() => crowd.kill('SIGKILL'));
  let seen = 0;
  let result: { readers: Seen[]; stalled: Seen[]; thrownOut: number } | undefined;
  const ready = new Promise<void>((resolve, reject) => {
    crowd.on('message', (message: { ready?: true; seen?: number; result?: typeof result }) => {
      if (message.ready) resolve();
      seen = message.seen ?? seen;
      result = message.result ?? result;
    });
    crowd.on('exit', (code) => reject(new Error(`the crowd has gone with code ${code}`)));
  });
  await ready;
  const before = process.memoryUsage.rss();
  let peak = before;
  const count = 12_000;
  for (let sent = 0; sent < count; sent += 100) {
    server.publish(numberedMany(100));
    await new Promise((resolve) => setTimeout(resolve, 25));
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  const until = async (condition: () => boolean, what: string): Promise<void> => {
    const end = performance.now() + 20_000;
    while (!condition()) {
      assert.ok(performance.now() < end, `${what} within 20 s; ${seen} seen, ${JSON.stringify(server.state)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await until(() => seen >= count, 'everybody has all');
  await until(() => server.state.closedSlow === 20, 'the stalled are closed');
  crowd.send('resume');
  await new Promise((resolve) => setTimeout(resolve, 500));
  crowd.send('end');
  await until(() => result !== undefined, 'the result');
  for (const reader of result!.readers) assert.deepEqual({ ...reader }, { last: count, gaps: 0, lost: 0, bye: '', code: 0 });
  for (const one of result!.stalled) {
    assert.ok(one.lost > 0);
    assert.deepEqual([one.bye, one.code, one.gaps], ['slow', 1013, 0]);
    // What came, and what is told as lost, is everything up to the moment of closing.
    assert.ok(one.last > 0 && one.last <= count);
  }
  const grown = (peak - before) / 1024 / 1024;
  t.diagnostic(
    `RSS grew by ${grown.toFixed(0)} MiB at most; ${result!.thrownOut} strangers thrown out; ${JSON.stringify(server.state.ended)}`,
  );
  assert.ok(grown < 128, `RSS grew by ${grown} MiB`);
  assert.ok(result!.thrownOut >= 18);
});
