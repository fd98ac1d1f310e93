// Sends requests one after another on one kept connection: node kept-alive.mjs COUNT MILLISECONDS-BETWEEN URL. Prints the answers.
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

const [count, betweenMs, url] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
for (let i = 0; i < Number(count); i += 1) {
  const status = await new Promise((resolve) => {
    http
      .get(url, { agent }, (response) => response.resume().on('end', () => resolve(response.statusCode)))
      .on('error', (error) => resolve(error.code));
  });
  process.stdout.write(`${status} `);
  await wait(Number(betweenMs));
}
agent.destroy();
