import type { Talk } from '../findings/made-recording.ts';
import { tlsRecord } from '../flow/tls-records.ts';

/** TLS 1.3 to Envoy's cluster of the shop: the handshake, and one request and answer within 100 ms. */
export function encryptedTalk(alpn: readonly string[]): Talk {
  return [
    ['C', tlsRecord.clientHello('outbound_.80_._.shop.default.svc.cluster.local', alpn)],
    ['S', Buffer.concat([tlsRecord.serverHello(true), tlsRecord.changeCipherSpec(), tlsRecord.data(900, true)])],
    ['C', Buffer.concat([tlsRecord.changeCipherSpec(), tlsRecord.data(700, true)])],
    0.01,
    ['C', tlsRecord.data(200, true)],
    0.08,
    ['S', tlsRecord.data(200, true)],
  ];
}
