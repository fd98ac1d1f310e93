import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { serveHealth } from '../../src/daemon/health.ts';
import { exposeMetrics, METRICS, makeMetrics, metricName } from '../../src/daemon/metrics.ts';

async function running() {
  const metrics = makeMetrics();
  const exposition = exposeMetrics(metrics, '1.2.3');
  const state = { ready: false };
  const server = await serveHealth({
    listen: '127.0.0.1:0',
    ready: () => ({ ready: state.ready, reasons: ['the probe does not answer'] }),
    metrics: exposition,
  });
  assert.ok('port' in server.address);
  const { port } = server.address;
  return {
    metrics,
    state,
    port,
    get: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init),
    close: () => server.close().then(() => exposition.close()),
  };
}

test('/healthz, /readyz with its reasons, and nothing else', async () => {
  const { get, state, close } = await running();
  assert.equal(await (await get('/healthz')).text(), 'ok\n');
  const waiting = await get('/readyz');
  assert.deepEqual([waiting.status, await waiting.text()], [503, 'not ready\nthe probe does not answer\n']);
  state.ready = true;
  assert.equal((await get('/readyz?verbose')).status, 200);
  assert.equal((await get('/')).status, 404);
  assert.equal((await get('/healthz', { method: 'POST', body: 'x' })).status, 405);
  const head = await get('/healthz', { method: 'HEAD' });
  assert.deepEqual([head.status, await head.text()], [200, '']);
  await close();
});

test('/metrics tells every field, with what the parts copy into it at the scrape', async () => {
  const { metrics, get, close } = await running();
  let scrapes = 0;
  metrics.onScrape.push(
    () => {
      scrapes += 1;
      metrics.packets = 100 * scrapes;
      metrics.lost.kernel_ring = 7;
      metrics.unknown['owner-unknown'] = 3;
    },
    () => {
      throw new Error('this part is ending');
    },
  );
  await get('/metrics');
  const text = await (await get('/metrics')).text();
  for (const field of Object.keys(METRICS)) assert.match(text, new RegExp(`^# TYPE ${metricName(field)} `, 'm'));
  assert.match(text, /^sidetrace_packets_total 200$/m);
  assert.match(text, /^sidetrace_lost_total\{stage="kernel_ring"\} 7$/m);
  assert.match(text, /^sidetrace_lost_total\{stage="gap"\} 0$/m);
  assert.match(text, /^sidetrace_unknown_total\{reason="owner-unknown"\} 3$/m);
  assert.match(text, /^sidetrace_build_info\{version="1.2.3"\} 1$/m);
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m);
  await close();
});

test('a label has at most 128 series, however many values there are; the sum is kept', async () => {
  const { metrics, get, close } = await running();
  for (let i = 0; i < 1000; i += 1) metrics.findings[`rule-${i}`] = 1;
  const text = await (await get('/metrics')).text();
  const values = [...text.matchAll(/^sidetrace_findings_total\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  assert.deepEqual([values.length, values.reduce((sum, value) => sum + value, 0)], [128, 1000]);
  await close();
});

test('a client that drips or talks nonsense is cut off, and others are answered', { timeout: 20_000 }, async () => {
  const { port, get, close } = await running();
  const ended = (bytes: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
      let text = '';
      socket.on('data', (data) => {
        text += String(data);
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  const slow = ended('GET /metrics HTT');
  assert.equal(await ended('\u0000\u0001nonsense\r\n\r\n'), '');
  assert.equal(await ended(`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`), '');
  assert.equal((await get('/healthz')).status, 200);
  await slow;
  await close();
});

test('an address that is taken is named', async () => {
  const { port, close } = await running();
  await assert.rejects(
    serveHealth({
      listen: `127.0.0.1:${port}`,
      ready: () => ({ ready: true, reasons: [] }),
      metrics: { contentType: '', read: async () => '' },
    }),
    /an address that is free is wanted, the system says EADDRINUSE/,
  );
  await close();
});

test('SIGUSR1 opens no inspector', { timeout: 20_000 }, async () => {
  const script = `
    import { keepInspectorShut } from ${JSON.stringify(new URL('../../src/daemon/inspector.js', import.meta.url).href)};
    import inspector from 'node:inspector';
    if (process.argv[1] !== 'open') keepInspectorShut();
    process.kill(process.pid, 'SIGUSR1');
    setTimeout(() => { console.log(String(inspector.url())); process.exit(0); }, 500);`;
  const url = (how: string) =>
    new Promise<string>((resolve) => {
      const child = spawn(process.execPath, ['--inspect-port=0', '--input-type=module', '-e', script, how], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let text = '';
      child.stdout.on('data', (bytes) => {
        text += String(bytes);
      });
      child.on('close', () => resolve(text.trim()));
    });
  assert.match(await url('open'), /^ws:/);
  assert.equal(await url('shut'), 'undefined');
});

test('docs/operations.md has the row of every metric, and no other', () => {
  const rows = readFileSync('docs/operations.md', 'utf8')
    .split('\n')
    .filter((line) => /^\| `sidetrace_\w+` \|/.test(line));
  const wanted = Object.entries(METRICS).map(
    ([field, shape]) => `| \`${metricName(field)}\` | ${'label' in shape ? `\`${shape.label}\`` : ''} | ${shape.help} |`,
  );
  assert.deepEqual(rows, wanted);
});
