/** What may listen on an administration port: an Envoy, as far as it is asked, and everything else. Answers are raw bytes. */
import { createServer, type Server, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface Asked {
  readonly line: string;
  readonly headers: string;
}

/** Answers one request; what it starts it ends when the socket closes. */
export type Behaviour = (socket: Socket, path: string) => void;

export class HostileAdmin {
  readonly asked: Asked[] = [];
  /** Consulted for each request. */
  behaviour: Behaviour;
  /** Sockets that are open now, and the most there ever were. */
  open = 0;
  most = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      this.most = Math.max(this.most, ++this.open);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.open--;
      });
      let text = '';
      socket.on('data', (data) => {
        text += data.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        if (end === -1) return;
        const [line = '', ...headers] = text.slice(0, end).split('\r\n');
        text = text.slice(end + 4);
        this.asked.push({ line, headers: headers.join('\n') });
        this.behaviour(socket, line.split(' ')[1] ?? '');
      });
    });
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as { port: number }).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function answer(socket: Socket, body: string | Uint8Array, head = 'content-type: application/json', status = '200 OK'): void {
  socket.write(`HTTP/1.1 ${status}\r\n${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`);
  socket.end(body);
}

/** Writes the same again and again for as long as anybody reads. */
function pour(socket: Socket, bytes: Uint8Array): void {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on('drain', more);
  more();
}

const big = Buffer.alloc(64 * 1024, 0x61);
let bomb: Buffer | undefined;
const chunk = (bytes: Uint8Array) => Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);

/** By name: what is answered instead of what was asked for. */
export const hostile: { readonly [name: string]: Behaviour } = {
  'no answer': () => {},
  'a reset': (socket) => socket.resetAndDestroy(),
  'the end at once': (socket) => socket.end(),
  'HTML with 200': (socket) => answer(socket, '<!doctype html><title>Welcome to nginx</title>', 'content-type: text/html'),
  'JSON of something else': (socket) => answer(socket, '{"hello": "world"}'),
  'half of the answer': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"configs": [');
    socket.end();
  },
  'a redirect': (socket) => answer(socket, '', `location: http://127.0.0.1:${(socket.localPort ?? 0) + 0}/elsewhere`, '302 Found'),
  'a redirect that is permanent': (socket) => answer(socket, '', 'location: http://169.254.169.254/latest', '308 Permanent Redirect'),
  '500': (socket) => answer(socket, 'no', '', '500 No'),
  'a gzip bomb': (socket) => {
    bomb ??= gzipSync(Buffer.alloc(256 * 1024 * 1024), { level: 1 });
    answer(socket, bomb, 'content-type: application/json\r\ncontent-encoding: gzip');
  },
  'a gzip bomb that does not say so': (socket) => {
    bomb ??= gzipSync(Buffer.alloc(256 * 1024 * 1024), { level: 1 });
    answer(socket, bomb);
  },
  'one byte a second': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n');
    const timer = setInterval(() => socket.write(' '), 200);
    socket.on('close', () => clearInterval(timer));
  },
  'a head of one byte a second': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nx: ');
    const timer = setInterval(() => socket.write('y'), 200);
    socket.on('close', () => clearInterval(timer));
  },
  'an endless body': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    pour(socket, chunk(big));
  },
  'an endless string': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n{"configs": [{"@type": "');
    pour(socket, big);
  },
  'endless space': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    pour(socket, Buffer.alloc(64 * 1024, 0x20));
  },
  'a head without end': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nx: ');
    pour(socket, big);
  },
  'a million headers': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    pour(socket, Buffer.from('a: b\r\n'.repeat(10_000)));
  },
  'interim answers without end': (socket) => pour(socket, Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000))),
  'a chunk that never ends': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    pour(socket, Buffer.from('0'.repeat(60_000)));
  },
  'a chunk with an endless extension': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;');
    pour(socket, big);
  },
  'trailers without end': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ');
    pour(socket, big);
  },
  'two lengths': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x'),
  'a length of 2^63': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n{}'),
  'another protocol': (socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello'),
  'no HTTP': (socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n'),
  TLS: (socket) => socket.write(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5])),
  'deep nesting': (socket) => answer(socket, '['.repeat(20_000)),
};
