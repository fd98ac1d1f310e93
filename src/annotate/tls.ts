/** What TLS tells without being opened: the version, the server name, the protocols offered; and whether both sides showed a certificate, judged a leg. */

import type { ConnectionDecision } from '../envoy/connection.ts';
import type { ConnectionTracker } from '../flow/exchange.ts';
import { judgeMutual } from '../istio/mutual-tls.ts';
import type { FlowRecord } from '../record/record.ts';

const versions = new Map<number, string>([
  [0x0300, 'SSLv3'],
  [0x0301, 'TLSv1.0'],
  [0x0302, 'TLSv1.1'],
  [0x0303, 'TLSv1.2'],
  [0x0304, 'TLSv1.3'],
]);

/** @returns `undefined` when no hello was read */
export function describeTls(tracker: ConnectionTracker | undefined, connection: ConnectionDecision | undefined): FlowRecord['tls'] {
  const facts = tracker?.tls;
  if (facts === undefined || (facts.clientHello === undefined && facts.serverHello === undefined)) return undefined;
  const { clientHello, serverHello, certificateUris } = facts;
  const version = serverHello === undefined ? undefined : versions.get(serverHello.version);
  const peer = certificateUris[0]?.[0];
  const verdict = judgeMutual({
    transport: 'tls',
    ...(clientHello?.sni === undefined ? {} : { serverName: clientHello.sni }),
    ...(clientHello === undefined ? {} : { alpn: clientHello.alpn }),
    ...(certificateUris[0] === undefined ? {} : { clientCertificate: true }),
    ...(connection === undefined ? {} : { chain: connection.tls }),
  });
  return {
    ...(version === undefined ? {} : { version }),
    ...(clientHello?.sni === undefined ? {} : { sni: clientHello.sni }),
    ...(clientHello === undefined || clientHello.alpn.length === 0 ? {} : { alpn: [...clientHello.alpn] }),
    ...(verdict === undefined ? {} : { mutual: verdict.mutual }),
    ...(peer === undefined ? {} : { peer }),
    evidence: verdict?.evidence ?? 'observed',
  };
}
