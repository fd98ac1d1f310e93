// Sends many requests at once and prints how they were answered.
//   node load.mjs [--concurrent N] [--requests N] [--paced MS] [--fresh] [--post BYTES] URL…
// The URLs are taken in turn. Connections are kept and used again unless --fresh; --paced waits up to MS milliseconds between two requests of the same worker.
import http from 'node:http';
import { parseArgs } from 'node:util';

const { values, positionals: urls } = parseArgs({
  allowPositionals: true,
  options: {
    concurrent: { type: 'string', default: '10' },
    requests: { type: 'string', default: '100' },
    paced: { type: 'string', default: '0' },
    fresh: { type: 'boolean', default: false },
    post: { type: 'string', default: '0' },
  },
});
const concurrent = Number(values.concurrent);
const requests = Number(values.requests);
const agent = new http.Agent({ keepAlive: !values.fresh, maxSockets: concurrent });
const body = 'x'.repeat(Number(values.post));
const answers = new Map();
let sent = 0;

function send(url) {
  return new Promise((resolve) => {
    const request = http.request(url, { agent, method: body === '' ? 'GET' : 'POST', timeout: 20_000 }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
      response.on('error', (error) => resolve(error.code));
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error) => resolve(error.code ?? error.message));
    request.end(body);
  });
}

async function work() {
  while (sent < requests) {
    const answer = await send(urls[sent++ % urls.length]);
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    if (values.paced !== '0') await new Promise((resolve) => setTimeout(resolve, Math.random() * Number(values.paced)));
  }
}

await Promise.all(Array.from({ length: concurrent }, work));
agent.destroy();
process.stdout.write(`${[...answers].map(([answer, count]) => `${answer}: ${count}`).join(', ')}\n`);
