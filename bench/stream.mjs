// What the stream carries, and how long a record takes through it: `bench/stream`, after `npm run build`. The server is this process, all subscribers are one other.
//
// Throughput: batches of 100 records of bookinfo's shape are published as fast as the slowest subscriber reads them; no record may be lost. The bound: the same bytes through plain sockets, without WebSocket.
// Latency: records are published one by one at a fixed rate; from the call of publish() to the moment when the message that holds the record is handed to the subscriber's code, decoded.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from '@msgpack/msgpack';
import { WebSocket } from 'ws';
import { StreamClient } from '../dist/src/stream/client.js';
import { BatchEncoder } from '../dist/src/stream/encoder.js';
import { StreamServer } from '../dist/src/stream/server.js';
import { parseServerAddress } from '../dist/src/stream/server-address.js';
import { requestFlows } from '../dist/test/output/samples.js';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
const now = () => Number(process.hrtime.bigint()) / 1e6;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

if (process.argv[2] === 'subscribers') await subscribers(process.argv[3], Number(process.argv[4]), process.argv[5]);
else await main();

/** Readers of one kind in a process of their own: `frames` (each message is taken), `records` (each is made into records by our client), `plain` (bytes). */
async function subscribers(path, count, kind) {
  const last = new Array(count).fill(0);
  const arrivals = [];
  let ready = 0;
  const took = (i, seq) => {
    last[i] = seq;
    if (i === 0) arrivals.push([seq, now()]);
  };
  for (let i = 0; i < count; i++) {
    if (kind === 'plain') {
      const socket = connect({ path });
      socket.on('connect', () => ready++);
      socket.on('data', (data) => {
        last[i] += data.length;
      });
    } else if (kind === 'records') {
      const client = new StreamClient({ server: parseServerAddress(path) });
      (async () => {
        for await (const event of client) {
          if (event.type === 'status') ready++;
          if (event.type === 'records') took(i, event.last);
        }
      })();
    } else {
      const socket = new WebSocket('ws://localhost/v1/stream', 'sidetrace.v1.msgpack', {
        createConnection: () => connect({ path }),
        perMessageDeflate: false,
      });
      socket.on('message', (data) => {
        // The number of the last record stands near the beginning: nothing else of it is looked at.
        if (data[0] === 0x85) {
          const at = data.indexOf('last', 0, 'latin1') + 4;
          took(
            i,
            data[at] === 0xce
              ? data.readUInt32BE(at + 1)
              : data[at] === 0xcd
                ? data.readUInt16BE(at + 1)
                : data[at] === 0xcc
                  ? data[at + 1]
                  : data[at],
          );
          return;
        }
        const { message, ...said } = decode(data);
        if (message === 'hello') socket.send(JSON.stringify({ message: 'subscribe' }));
        if (message === 'status') ready++;
        if (message === 'lost') took(i, said.last);
      });
    }
  }
  while (ready < count) await sleep(5);
  process.send({ ready: true });
  setInterval(() => process.send({ least: Math.min(...last) }), 5);
  process.on('message', () => process.send({ arrivals }, () => process.exit(0)));
}

/** Starts the other process. `least()`: how far the slowest is; `end()`: when each message came to the first of them. */
async function crowd(path, count, kind) {
  const child = fork(import.meta.filename ?? new URL(import.meta.url).pathname, ['subscribers', path, String(count), kind]);
  let least = 0;
  let arrivals;
  let ready = false;
  child.on('exit', (code) => {
    if (code !== 0) process.exit(1);
  });
  child.on('message', (message) => {
    ready ||= message.ready;
    least = message.least ?? least;
    arrivals = message.arrivals ?? arrivals;
  });
  while (!ready) await sleep(5);
  return {
    least: () => least,
    end: async () => {
      child.send('end');
      while (arrivals === undefined) await sleep(5);
      return arrivals;
    },
  };
}

function records(count) {
  return Array.from({ length: count }, (_, i) => ({ ...requestFlows[i % requestFlows.length], id: i.toString(16).padStart(16, '0') }));
}

async function server(folder, limits = 200) {
  const path = join(folder, `s${Math.random()}.sock`);
  const one = new StreamServer({
    node: 'bench',
    software: 'bench',
    limits: { connections: limits, perUser: limits, unauthenticated: limits },
  });
  await one.listen([{ path }]);
  return { one, path };
}

async function throughput(folder, count, kind) {
  const { one, path } = await server(folder);
  const others = await crowd(path, count, kind);
  const batch = records(100);
  const begun = now();
  const cpu = process.cpuUsage();
  let sent = 0;
  // As fast as the slowest reads: its queue holds 4 MiB.
  while (now() - begun < SECONDS * 1000) {
    if (Math.max(...[...one.subscribers()].map(({ queuedBytes }) => queuedBytes)) < 2 * 1024 * 1024) {
      for (let i = 0; i < 5; i++) one.publish(batch);
      sent += 500;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (others.least() < sent) await sleep(1);
  const ms = now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  const { lost } = one.state;
  await others.end();
  await one.close();
  if (lost > 0) throw new Error(`${lost} records were lost`);
  return { rate: (sent / ms) * 1000, cores: (user + system) / 1000 / ms };
}

/** The same messages through plain sockets. */
async function bound(folder, count) {
  const batches = [];
  const encoder = new BatchEncoder(
    (batch) => batches.push(batch),
    () => {},
    () => 0,
  );
  for (const record of records(100)) encoder.add(record);
  encoder.seal();
  const message = batches[0].outgoing().msgpack;
  const path = join(folder, 'plain.sock');
  const sockets = [];
  const plain = createServer((socket) => sockets.push(socket)).listen(path);
  const others = await crowd(path, count, 'plain');
  while (sockets.length < count) await sleep(1);
  const begun = now();
  let sent = 0;
  while (now() - begun < SECONDS * 1000) {
    if (Math.max(...sockets.map(({ writableLength }) => writableLength)) < 2 * 1024 * 1024) {
      for (let i = 0; i < 5; i++) for (const socket of sockets) socket.write(message);
      sent += 5;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (others.least() < sent * message.length) await sleep(1);
  const ms = now() - begun;
  await others.end();
  plain.close();
  return (sent * 100 * 1000) / ms;
}

async function latency(folder, count, perSecond) {
  const { one, path } = await server(folder);
  const others = await crowd(path, count, count === 1 ? 'records' : 'frames');
  const total = perSecond * SECONDS;
  const made = records(1000);
  const published = new Float64Array(total + 1);
  const begun = now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((now() - begun) / 1000) * perSecond));
    for (; sent < due; sent++) {
      published[sent + 1] = now();
      one.publish([made[sent % 1000]]);
    }
    await sleep(1);
  }
  while (others.least() < total) await sleep(5);
  const arrivals = await others.end();
  const { lost } = one.state;
  await one.close();
  const taken = [];
  let seq = 1;
  for (const [last, at] of arrivals) for (; seq <= last; seq++) taken.push(at - published[seq]);
  taken.sort((a, b) => a - b);
  const at = (share) => taken[Math.min(taken.length - 1, Math.floor(taken.length * share))].toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms (${taken.length} records${lost > 0 ? `, ${lost} lost of ${count * total} for all` : ', none lost'})`;
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-bench-'));
  try {
    console.log(`${cpus().length} × ${cpus()[0].model}, Node.js ${process.version}, ${SECONDS} s each`);
    for (const count of [1, 100]) {
      const frames = await throughput(folder, count, 'frames');
      const limit = await bound(folder, count);
      console.log(
        `${count} subscribers: ${Math.round(frames.rate)} records/s to each, ${Math.round(frames.rate * count)} in all, server ${frames.cores.toFixed(2)} cores (${Math.round((frames.rate * count) / frames.cores / 1000)} k a core); plain sockets: ${Math.round(limit)} (${((frames.rate / limit) * 100).toFixed(0)} %)`,
      );
    }
    const made = await throughput(folder, 1, 'records');
    console.log(`1 subscriber, records made and checked: ${Math.round(made.rate)} records/s`);
    for (const count of [1, 100])
      for (const rate of [1000, 10_000]) console.log(`${count} subscribers, ${rate} records/s: ${await latency(folder, count, rate)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
