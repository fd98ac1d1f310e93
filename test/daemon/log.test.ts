import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { openLog } from '../../src/daemon/log.ts';

function collected(level: 'trace' | 'info' = 'info') {
  const lines: string[] = [];
  const sink = { writableLength: 0, write: (line: string) => lines.push(line) };
  const clock = { now: 0 };
  const log = openLog({ level, node: 'n1', sink, nowMs: () => clock.now });
  return { log, sink, clock, read: () => lines.splice(0).map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('a line is one JSON object with the level by name, the node, the part and the fields', () => {
  const { log, read } = collected();
  log.child('probe', { netns: 'a' }).warn({ cookie: 5n, list: ['a', 5n], err: new Error('broken') }, 'the capture failed');
  log.info('started');
  const [first, second] = read();
  assert.deepEqual(
    [first?.level, first?.node, first?.part, first?.netns, first?.cookie, first?.list, first?.msg],
    ['warn', 'n1', 'probe', 'a', '5', ['a', '5'], 'the capture failed'],
  );
  assert.match(JSON.stringify(first?.err), /"message":"broken"/);
  assert.deepEqual([second?.level, second?.msg], ['info', 'started']);
  assert.match(String(second?.time), /^\d{4}-\d\d-\d\dT/);
});

test('of one kind the first 25 are written, then one every 30 s with the number of those left out', () => {
  const { log, clock, read } = collected();
  for (let i = 0; i < 1000; i += 1) log.warn({ i }, 'again');
  log.info('again');
  assert.equal(read().length, 26);
  clock.now = 29_999;
  log.warn({}, 'again');
  assert.equal(read().length, 0);
  clock.now = 30_000;
  log.warn({}, 'again');
  log.warn({}, 'again');
  assert.deepEqual(
    read().map((line) => line.leftOut),
    [976],
  );
  assert.equal(log.suppressed, 977);
});

test('kinds are bounded, lines are bounded', () => {
  const { log, read } = collected();
  for (let i = 0; i < 5000; i += 1) log.info(`message ${i}`);
  assert.equal(read().length, 5000);
  log.info({ long: 'x'.repeat(1e6), deep: { text: 'y'.repeat(1e6) } }, 'z'.repeat(1e6));
  assert.ok(JSON.stringify(read()[0]).length < 10_000);
});

test('a level below the wanted one is not written; the level can be changed', () => {
  const { log, read } = collected();
  log.debug('a');
  log.setLevel('debug');
  log.debug('b');
  assert.deepEqual(
    read().map((line) => line.msg),
    ['b'],
  );
});

test('lines that do not fit are counted and told when there is room again', () => {
  const { log, sink, read } = collected();
  sink.writableLength = 1024 * 1024;
  log.info('lost');
  log.info('lost too');
  assert.deepEqual([read().length, log.dropped], [0, 2]);
  sink.writableLength = 0;
  log.info('written');
  assert.deepEqual(
    read().map((line) => [line.msg, line.count]),
    [
      ['written', undefined],
      ['lines of this log were dropped: their reader was too slow', 2],
    ],
  );
});

test('a standard output that nobody reads holds up neither the event loop nor the end', { timeout: 30_000 }, async () => {
  const script = `
    import { openLog } from ${JSON.stringify(new URL('../../src/daemon/log.js', import.meta.url).href)};
    const log = openLog({ level: 'info', node: 'n' });
    let n = 0;
    let worst = 0, last = performance.now();
    const every = setInterval(() => {
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
      for (let i = 0; i < 50; i += 1) log.info({ text: 'x'.repeat(500) }, 'kind ' + (n += 1));
    }, 5);
    setTimeout(async () => {
      clearInterval(every);
      await log.close();
      process.stderr.write(JSON.stringify({ worst, dropped: log.dropped, n }));
      process.exit(0);
    }, 1500);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const begun = performance.now();
  let told = '';
  child.stderr.on('data', (bytes) => {
    told += String(bytes);
  });
  const code = await new Promise((resolve) => child.on('exit', resolve));
  assert.equal(code, 0, told);
  const { worst, dropped, n } = JSON.parse(told) as { worst: number; dropped: number; n: number };
  assert.ok(dropped > 0 && n > 1000, told);
  assert.ok(worst < 1000, `the loop was held up for ${worst} ms`);
  assert.ok(performance.now() - begun < 20_000);
});
