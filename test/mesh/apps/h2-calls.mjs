// Sends HTTP/2 requests without TLS, all on one connection: node h2-calls.mjs together|in-turn ORIGIN PATH…. Prints the answers' status codes.
import http2 from 'node:http2';

const [how, origin, ...paths] = process.argv.slice(2);
const session = http2.connect(origin);

function call(path) {
  return new Promise((resolve) => {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
    let status;
    stream.on('response', (headers) => {
      status = headers[':status'];
    });
    stream.on('error', (error) => resolve(error.code));
    stream.on('end', () => resolve(status));
    stream.resume();
    stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1])); // a gRPC message of two bytes
  });
}

const answers = [];
if (how === 'together') answers.push(...(await Promise.all(paths.map(call))));
else for (const path of paths) answers.push(await call(path));
process.stdout.write(`${answers.join(' ')} `);
session.close();
