// A TCP service that greets, then echoes; with the greeting '' the client speaks first. node tcp-echo.mjs PORT GREETING
import net from 'node:net';

const [port = '9000', greeting = 'hello'] = process.argv.slice(2);
net
  .createServer((socket) => {
    if (greeting !== '') socket.write(`${greeting}\n`);
    socket.pipe(socket);
    socket.on('error', () => {});
  })
  .listen(Number(port), '0.0.0.0');
