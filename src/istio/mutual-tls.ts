/** Is a leg mutual TLS between proxies? Judged by what the wire shows and by the chain that took the connection. */
import { isMeshProtocol } from './alpn.ts';
import { parseServerName } from './cluster-name.ts';

export interface TlsFacts {
  /** Did the client open with a TLS ClientHello? */
  readonly transport: 'raw_buffer' | 'tls' | 'unknown';
  /** '' none; absent unknown. */
  readonly serverName?: string;
  readonly alpn?: readonly string[];
  /** What the server picked. */
  readonly negotiated?: string;
  /** A certificate of the client was seen (TLS 1.2 shows it). */
  readonly clientCertificate?: boolean;
  /** What the filter chain that took the connection asks for. */
  readonly chain?: 'plaintext' | 'tls' | 'mutual' | 'unknown';
}

export interface MutualVerdict {
  readonly mutual: boolean;
  readonly by: 'plaintext' | 'client-certificate' | 'chain' | 'alpn' | 'server-name' | 'server-only';
  /** Seen on the wire, or concluded from the configuration. */
  readonly evidence: 'observed' | 'derived';
}

/**
 * The verdict; `undefined` when nothing tells.
 *
 * TLS that no chain ends and that bears no name of Istio's is the application's own: nothing tells what its two ends show each other.
 */
export function judgeMutual(facts: TlsFacts): MutualVerdict | undefined {
  if (facts.transport === 'raw_buffer') return { mutual: false, by: 'plaintext', evidence: 'observed' };
  if (facts.clientCertificate === true) return { mutual: true, by: 'client-certificate', evidence: 'observed' };
  if (facts.transport === 'unknown') {
    if (facts.chain === 'mutual') return { mutual: true, by: 'chain', evidence: 'derived' };
    return undefined;
  }
  if (facts.chain === 'mutual') return { mutual: true, by: 'chain', evidence: 'derived' };
  if (facts.chain === 'tls') return { mutual: false, by: 'server-only', evidence: 'derived' };
  const names = [...(facts.alpn ?? []), ...(facts.negotiated === undefined ? [] : [facts.negotiated])];
  if (names.some(isMeshProtocol)) return { mutual: true, by: 'alpn', evidence: 'derived' };
  if (facts.serverName !== undefined && parseServerName(facts.serverName) !== undefined)
    return { mutual: true, by: 'server-name', evidence: 'derived' };
  return undefined;
}
