// A server-speaks-first TCP service: greets, then echoes. node tcp-echo.mjs PORT GREETING
import net from 'node:net';

const [port = '9000', greeting = 'hello'] = process.argv.slice(2);
net
  .createServer((socket) => {
    socket.write(`${greeting}\n`);
    socket.pipe(socket);
    socket.on('error', () => {});
  })
  .listen(Number(port), '0.0.0.0');
