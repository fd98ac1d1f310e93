#!/usr/bin/env node
// What it costs to follow many idle network namespaces: `bench/live/namespaces.mjs [250]`, as root. It makes them, follows them with a probe and a follower of its own (an engine that
// does nothing), and removes them. Figures: the time to open all captures at the start and one that comes later, kernel memory of the rings, memory and CPU time of the probe and of this process.
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openLog } from '../../dist/src/daemon/log.js';
import { NodeFollower } from '../../dist/src/daemon/node/follower.js';
import { ProbeLink } from '../../dist/src/daemon/node/probe-link.js';
import { KubeNames } from '../../dist/src/kube/names.js';

const count = Number(process.argv[2] ?? 250);
const later = 20;
const prefix = `stb-${process.pid}-`;
const run = promisify(execFile);
const made = [];
const log = openLog({ level: 'silent', node: 'bench' });
const names = new KubeNames();
let frames = 0;
const losses = {};

/** @param {string | number} pid */
const status = (pid, field) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
/** CPU time so far, in ms: fields 14 and 15 of proc(5), in hundredths of a second. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
const add = async (name) => {
  await run('ip', ['netns', 'add', name]);
  made.push(name);
};
const until = async (holds) => {
  while (!holds()) await sleep(1);
};
const middle = (values, part) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))];
const ms = (value) => `${value.toFixed(1)} ms`;

try {
  for (let i = 0; i < count; i++) await add(`${prefix}${i}`);
  const link = new ProbeLink({ place: { program: 'native/build/sidetrace-probe' }, log });
  link.start();
  await link.ready(10_000);
  const probe = readdirSync('/proc').find((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/stat`, 'utf8').includes('(sidetrace-probe)') && status(pid, 'PPid') === process.pid
      );
    } catch {
      return false;
    }
  });
  const follower = new NodeFollower({
    link,
    engine: {
      open: () => ({ observeProbeFrames: () => frames++ }),
      close: () => {},
      lose: ({ source, count: lost }) => {
        losses[source] = (losses[source] ?? 0) + lost;
      },
    },
    base: { epochSeconds: Math.floor(Date.now() / 1000) },
    config: { node: 'bench', ringBudget: 64 * 1024 * 1024, snapLength: 65_535, filter: '', home: false },
    log,
    names: () => names,
    podOf: () => undefined,
    follow: ({ name }) => name.startsWith(prefix),
    onNamespace: () => {},
    onGone: () => {},
  });
  const cpuBefore = [cpu(probe), cpu('self')];
  const begun = performance.now();
  await follower.start();
  console.log(`${count} captures open: ${ms(performance.now() - begun)} in all`);
  await until(() => follower.namespaces().every(({ world }) => world.sockets !== undefined && world.interfaces.length > 0));
  console.log(
    `rules, links, conntrack and sockets of all read: ${ms(performance.now() - begun)}; CPU: probe ${cpu(probe) - cpuBefore[0]} ms, follower ${cpu('self') - cpuBefore[1]} ms`,
  );
  const times = [];
  for (let i = 0; i < later; i++) {
    const name = `${prefix}later${i}`;
    await add(name);
    const at = performance.now();
    await until(() => follower.namespaces().some(({ netns, openMs }) => netns === name && openMs !== undefined));
    times.push(performance.now() - at);
    await sleep(200);
  }
  console.log(
    `one more, from the end of "ip netns add" to its open capture: median ${ms(middle(times, 0.5))}, worst ${ms(middle(times, 1))}`,
  );
  const mapped = readFileSync(`/proc/${probe}/smaps`, 'utf8')
    .split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
    .filter((area) => area.includes('socket:['))
    .reduce((sum, area) => sum + Number(/Size:\s+(\d+)/.exec(area)?.[1]), 0);
  console.log(
    `rings: ${(follower.ringBytes / 1048576).toFixed(1)} MiB by the books, ${(mapped / 1024).toFixed(1)} MiB mapped; ${readdirSync(`/proc/${probe}/fd`).length} descriptors`,
  );
  console.log(
    `memory: probe ${status(probe, 'RssAnon')} KiB of its own (RssAnon; the rings are mapped beside it), follower ${status('self', 'VmRSS')} KiB RSS`,
  );
  await sleep(5000);
  const idle = [cpu(probe), cpu('self')];
  await sleep(20_000);
  console.log(
    `idle for 20 s: CPU probe ${((cpu(probe) - idle[0]) / 200).toFixed(2)} %, follower ${((cpu('self') - idle[1]) / 200).toFixed(2)} %`,
  );
  const closing = performance.now();
  await follower.stop();
  console.log(`all closed: ${ms(performance.now() - closing)}; lost: ${JSON.stringify(losses)}`);
  link.stop();
} finally {
  for (const name of made) execFileSync('ip', ['netns', 'del', name]);
}
