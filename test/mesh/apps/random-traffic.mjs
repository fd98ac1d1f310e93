// Random connections and requests of many kinds, the same for the same seed. Writes what it did as JSON lines, one for each request or plain connection.
//
//   node random-traffic.mjs --seed N --acts N [--concurrent N] [--kinds A,B,…] --targets FILE
//
// An act is one connection (or one session of HTTP/2) and what happens on it. FILE is JSON; each kind that it has no target for is left out:
//   { "service": [URL…], "pod": [URL…], "self": [URL…], "loopback": [URL…], "gateway": [URL…], "outside": [{ "url": URL, "host": NAME }…], "closed": [URL…],
//     "tls": [{ "host": ADDRESS, "port": N, "name": SNI }…], "serverFirst": ["HOST:PORT"…], "clientFirst": ["HOST:PORT"…], "h2c": [ORIGIN…] }
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { parseArgs } from 'node:util';

const TIMEOUT_MS = 15_000;
/** A server that speaks first is not heard through a sidecar that first waits for the client: such a connection is given up soon. */
const TCP_TIMEOUT_MS = 3_000;
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    acts: { type: 'string', default: '100' },
    concurrent: { type: 'string', default: '1' },
    kinds: { type: 'string', default: '' },
    targets: { type: 'string' },
    phase: { type: 'string', default: '' },
  },
});
const targets = JSON.parse(fs.readFileSync(values.targets, 'utf8'));

/** mulberry32. */
let state = Number(values.seed) >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const oneOf = (list) => list[below(list.length)];

/** How often each kind is drawn. */
const weights = {
  service: 40,
  pod: 8,
  self: 5,
  loopback: 5,
  gateway: 8,
  outside: 8,
  closed: 4,
  tls: 4,
  serverFirst: 8,
  clientFirst: 8,
  h2c: 8,
};
const kinds = Object.keys(weights).filter(
  (kind) => targets[kind]?.length > 0 && (values.kinds === '' || values.kinds.split(',').includes(kind)),
);
if (kinds.length === 0) throw new Error(`Cannot make traffic: a target of at least one kind is needed, "${values.targets}" has none`);
const bag = kinds.flatMap((kind) => Array(weights[kind]).fill(kind));

/** Everything that chance decides, before anything is done: the same for the same seed, whoever is faster. */
const plans = Array.from({ length: Number(values.acts) }, (_, act) => {
  const kind = oneOf(bag);
  return {
    act,
    kind,
    target: oneOf(targets[kind]),
    together: random() < 0.5,
    requests: Array.from({ length: random() < 0.5 ? 1 : 2 + below(4) }, () => ({
      tail: random() < 0.5 ? '' : `/${below(1_000_000)}`,
      post: random() < 0.25 ? below(20_000) : 0,
      ownId: random() < 0.3,
      pauseMs: random() < 0.3 ? below(60) : 0,
    })),
  };
});

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const endOf = (socket, side) =>
  socket?.[`${side}Port`] === undefined ? undefined : `${socket[`${side}Address`]}:${socket[`${side}Port`]}`;

function tell(plan, begun, socket, more) {
  const at = new Date(begun).toISOString();
  const line = { at, ms: Date.now() - begun, phase: values.phase, act: plan.act, kind: plan.kind, ...more };
  process.stdout.write(
    `${JSON.stringify({ ...line, local: endOf(socket, 'local') ?? socket?.ends?.local, remote: endOf(socket, 'remote') ?? socket?.ends?.remote })}\n`,
  );
}

function request(agent, plan, { tail, post, ownId }) {
  const { url, host } = typeof plan.target === 'string' ? { url: plan.target } : plan.target;
  const begun = Date.now();
  const method = post > 0 ? 'POST' : 'GET';
  const path = `${new URL(url).pathname.replace(/\/$/, '')}${tail}` || '/';
  const id = ownId ? randomUUID() : undefined;
  return new Promise((resolve) => {
    let socket;
    const ended = (more) => {
      tell(plan, begun, socket, { method, path, ...(id === undefined ? {} : { id }), ...more });
      resolve();
    };
    const headers = { ...(host === undefined ? {} : { host }), ...(id === undefined ? {} : { 'x-request-id': id }) };
    const asked = http.request(url, { agent, method, path, headers, timeout: TIMEOUT_MS }, (response) => {
      response.resume();
      response.on('end', () => ended({ status: response.statusCode }));
      response.on('error', (error) => ended({ error: error.code ?? error.message }));
    });
    asked.on('socket', (used) => {
      const note = () => {
        socket = { ends: { local: endOf(used, 'local'), remote: endOf(used, 'remote') } };
      };
      if (used.connecting) used.once('connect', note);
      else note();
    });
    asked.on('timeout', () => asked.destroy(new Error('timeout')));
    asked.on('error', (error) => ended({ error: error.code ?? error.message }));
    asked.end('x'.repeat(post));
  });
}

async function overHttp(plan) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (const asked of plan.requests) {
    await request(agent, plan, asked);
    if (asked.pauseMs > 0) await wait(asked.pauseMs);
  }
  agent.destroy();
}

/** One connection: what is sent comes back. The server of `serverFirst` greets before. */
function overTcp(plan) {
  const [host, port] = plan.target.split(':');
  const begun = Date.now();
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) });
    let ends;
    let received = 0;
    let sent = 0;
    const speak = () => {
      const next = plan.requests.shift();
      if (next === undefined) return socket.end();
      sent += 2 + next.post;
      socket.write(`${'x'.repeat(next.post + 1)}\n`);
    };
    socket.setTimeout(TCP_TIMEOUT_MS, () => socket.destroy(new Error('timeout')));
    socket.on('connect', () => {
      ends = { local: endOf(socket, 'local'), remote: endOf(socket, 'remote') };
      if (plan.kind === 'clientFirst') speak();
    });
    let greeted = plan.kind === 'clientFirst';
    socket.on('data', (data) => {
      received += data.length;
      if (!greeted) {
        greeted = true;
        sent += data.length;
        return speak();
      }
      if (received >= sent) speak();
    });
    let problem;
    socket.on('error', (error) => {
      problem = error.code ?? error.message;
    });
    socket.on('close', () => {
      tell(plan, begun, { ends }, problem === undefined ? { bytes: received } : { error: problem });
      resolve();
    });
  });
}

function overTls(plan) {
  const { host, port, name } = plan.target;
  const begun = Date.now();
  return new Promise((resolve) => {
    let problem;
    let ends;
    const socket = tls.connect({ host, port, servername: name, rejectUnauthorized: false }, () => {
      ends = { local: endOf(socket, 'local'), remote: endOf(socket, 'remote') };
      socket.write(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
    });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('timeout')));
    socket.resume();
    socket.on('error', (error) => {
      problem = error.code ?? error.message;
    });
    socket.on('close', () => {
      tell(plan, begun, { ends }, { sni: name, ...(problem === undefined ? {} : { error: problem }) });
      resolve();
    });
  });
}

function call(session, plan, ends, { tail, post }) {
  const begun = Date.now();
  const path = `/shop.Cart/Add${tail}`;
  return new Promise((resolve) => {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
    let status;
    let problem;
    stream.setTimeout(TIMEOUT_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on('response', (headers) => {
      status = headers[':status'];
    });
    stream.on('error', (error) => {
      problem = error.code;
    });
    stream.on('close', () => {
      tell(plan, begun, { ends }, { method: 'POST', path, ...(status === undefined ? { error: problem ?? 'closed' } : { status }) });
      resolve();
    });
    stream.resume();
    stream.end(Buffer.alloc(5 + (post % 4000)));
  });
}

async function overHttp2(plan) {
  const session = http2.connect(plan.target);
  try {
    await new Promise((resolve, reject) => {
      session.once('connect', resolve);
      session.once('error', reject);
      setTimeout(() => reject(new Error('timeout')), TIMEOUT_MS).unref();
    });
    const ends = { local: endOf(session.socket, 'local'), remote: endOf(session.socket, 'remote') };
    if (plan.together) await Promise.all(plan.requests.map((asked) => call(session, plan, ends, asked)));
    else for (const asked of plan.requests) await call(session, plan, ends, asked);
  } catch (error) {
    tell(plan, Date.now(), undefined, { error: error.code ?? error.message });
  }
  session.on('error', () => {});
  session.destroy();
}

const ways = { tls: overTls, serverFirst: overTcp, clientFirst: overTcp, h2c: overHttp2 };
let next = 0;
async function work() {
  while (next < plans.length) {
    const plan = plans[next++];
    await (ways[plan.kind] ?? overHttp)(plan);
  }
}
await Promise.all(Array.from({ length: Number(values.concurrent) }, work));
