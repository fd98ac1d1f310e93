// Small servers for the lab.  node servers.mjs h2c PORT | http PORT | tls PORT CERT KEY
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';

const [kind, port, cert, key] = process.argv.slice(2);
const answer = (request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(`${kind} ${request.method} ${request.url}\n`);
};
const server =
  kind === 'h2c'
    ? http2.createServer(answer)
    : kind === 'http'
      ? http.createServer(answer)
      : https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer);
server.listen(Number(port), '::');
