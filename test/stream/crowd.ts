/**
 * A process of its own with many subscribers of one daemon: some read, some stall, some send rubbish. Started by subscribers.test.ts with `fork`; says what each has seen.
 *
 * Arguments: socket, readers, stalled, rubbish. Messages in: `resume` (the stalled read again), `end`. Messages out: `{ready}`, `{seen}` each half second, `{result}`.
 */
import { connect } from 'node:net';
import { decode } from '@msgpack/msgpack';
import { WebSocket } from 'ws';

const [path = '', readers = '0', stalled = '0', rubbish = '0'] = process.argv.slice(2);

interface Seen {
  last: number;
  gaps: number;
  lost: number;
  bye: string;
  code: number;
}

function open(): WebSocket {
  return new WebSocket('ws://localhost/v1/stream', 'sidetrace.v1.msgpack', {
    createConnection: () => connect({ path }),
    perMessageDeflate: false,
  });
}

/** An unsigned integer of MessagePack, and where it ends. */
function uint(bytes: Buffer, at: number): [value: number, end: number] {
  const head = bytes[at]!;
  if (head < 0x80) return [head, at + 1];
  if (head === 0xcc) return [bytes[at + 1]!, at + 2];
  if (head === 0xcd) return [bytes.readUInt16BE(at + 1), at + 3];
  if (head === 0xce) return [bytes.readUInt32BE(at + 1), at + 5];
  throw new Error(`an unsigned integer is wanted, it begins with 0x${head.toString(16)}`);
}

const RECORDS = Buffer.concat([
  Buffer.from([0x85]),
  ...['message', 'records', 'seq'].map((word) => Buffer.concat([Buffer.from([0xa0 + word.length]), Buffer.from(word)])),
]);

function subscriber(stalls: boolean): Promise<{ seen: Seen; socket: WebSocket }> {
  const socket = open();
  const seen: Seen = { last: 0, gaps: 0, lost: 0, bye: '', code: 0 };
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', (code) => {
      seen.code = code;
    });
    socket.on('message', (data: Buffer) => {
      if (data.subarray(0, RECORDS.length).equals(RECORDS)) {
        const [from, end] = uint(data, RECORDS.length);
        const [last] = uint(data, end + 5);
        if (from !== seen.last + 1) seen.gaps += from - seen.last - 1;
        seen.last = last;
        return;
      }
      const message = decode(data) as { message: string; reason: string; last: number; seq: number; record: { count: number } };
      if (message.message === 'hello') socket.send(JSON.stringify({ message: 'subscribe' }));
      else if (message.message === 'lost') {
        seen.lost += message.record.count;
        // Exactly what did not come.
        seen.gaps += Math.abs(message.last - seen.last - message.record.count);
        seen.last = message.last;
      } else if (message.message === 'bye') seen.bye = message.reason;
      else if (message.message === 'status' && seen.last === 0) {
        if (stalls) socket.pause();
        resolve({ seen, socket });
      }
    });
  });
}

const masked = (opcode: number, payload: Buffer, fin = true): Buffer => {
  const mask = Buffer.from([1, 2, 3, 4]);
  const body = Buffer.from(payload.map((byte, i) => byte ^ mask[i % 4]!));
  const length = body.length < 126 ? Buffer.from([0x80 | body.length]) : Buffer.from([0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode]), length, mask, body]);
};

/** What strangers do once they are in. Each begins again when it is thrown out. */
const mischief: ((send: (bytes: Buffer) => void) => NodeJS.Timeout | undefined)[] = [
  (send) => void send(Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 37) & 255))) as undefined,
  (send) => void send(masked(1, Buffer.from('{"message":"subscribe","filter":[{"name":"pod"'))) as undefined,
  (send) => void send(masked(2, Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]))) as undefined,
  (send) => void send(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 2, 3, 4])) as undefined,
  (send) => setInterval(() => send(masked(9, Buffer.from('are you there'))), 1),
  (send) => {
    send(masked(1, Buffer.from('{'), false));
    return setInterval(() => send(masked(0, Buffer.from(' '), false)), 1);
  },
  (send) => setInterval(() => send(masked(0x0a, Buffer.alloc(100))), 1),
  (send) => void send(masked(1, Buffer.from(`["${'['.repeat(30_000)}"]`))) as undefined,
];

let thrownOut = 0;

function stranger(i: number): void {
  const socket = connect({ path });
  let timer: NodeJS.Timeout | undefined;
  socket.on('error', () => {});
  socket.once('data', () => {
    timer = mischief[i % mischief.length]!((bytes) => {
      if (socket.writable) socket.write(bytes);
    });
  });
  socket.on('close', () => {
    clearInterval(timer);
    thrownOut++;
    setTimeout(() => stranger(i), 100).unref();
  });
  socket.write(
    'GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
}

const all = await Promise.all(Array.from({ length: Number(readers) + Number(stalled) }, (_, i) => subscriber(i >= Number(readers))));
const reading = all.slice(0, Number(readers));
for (let i = 0; i < Number(rubbish); i++) stranger(i);
process.send!({ ready: true });
setInterval(() => process.send!({ seen: Math.min(...reading.map(({ seen }) => seen.last)) }), 200).unref();
process.on('message', (message) => {
  if (message === 'resume') for (const { socket } of all.slice(Number(readers))) socket.resume();
  else {
    process.send!(
      { result: { readers: reading.map(({ seen }) => seen), stalled: all.slice(Number(readers)).map(({ seen }) => seen), thrownOut } },
      () => process.exit(0),
    );
  }
});
