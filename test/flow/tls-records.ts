/** TLS records made by hand: hellos that can be read, and everything else as so many bytes. Source: RFC 8446 sections 4.1, 5.1, 5.2; RFC 5246 section 6.2. */
import { clientHello } from '../envoy/client-hello.ts';

const HANDSHAKE = 22;
const CHANGE_CIPHER_SPEC = 20;
const APPLICATION_DATA = 23;
const TLS_AES_128_GCM_SHA256 = 0x1301;
const ECDHE_RSA_AES_128_GCM_SHA256 = 0xc02f;
/** What encryption adds: a content type and a tag, or an explicit nonce and a tag. */
const ADDED_13 = 17;
const ADDED_12 = 24;
const LARGEST = 16_384;

function record(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([type, 3, 3, body.length >> 8, body.length & 255]), body]);
}

export const tlsRecord = {
  clientHello,

  serverHello(thirteen: boolean): Buffer {
    const suite = thirteen ? TLS_AES_128_GCM_SHA256 : ECDHE_RSA_AES_128_GCM_SHA256;
    const extensions = thirteen ? [0, 6, 0, 43, 0, 2, 3, 4] : [0, 0];
    const body = Buffer.from([3, 3, ...new Array<number>(32).fill(9), 0, suite >> 8, suite & 255, 0, ...extensions]);
    return record(HANDSHAKE, Buffer.concat([Buffer.from([2, 0, body.length >> 8, body.length & 255]), body]));
  },

  changeCipherSpec: () => record(CHANGE_CIPHER_SPEC, Buffer.from([1])),

  /** A message of the handshake that nobody reads. */
  handshake: (length: number) =>
    record(HANDSHAKE, Buffer.concat([Buffer.from([20, 0, (length - 4) >> 8, (length - 4) & 255]), Buffer.alloc(length - 4, 1)])),

  /** So many bytes of plain text, encrypted. */
  data(length: number, thirteen: boolean): Buffer {
    const records: Buffer[] = [];
    for (let left = length; left > 0; left -= LARGEST)
      records.push(record(APPLICATION_DATA, Buffer.alloc(Math.min(left, LARGEST) + (thirteen ? ADDED_13 : ADDED_12), 0xee)));
    return Buffer.concat(records);
  },
};
