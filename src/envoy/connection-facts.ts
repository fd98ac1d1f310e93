/** What is known of a connection that a proxy accepted. */
export interface ConnectionFacts {
  /** When it was opened, milliseconds of the Unix epoch; with `midstream` a time when it was already open. */
  readonly atMs: number;
  /** It was opened before `atMs`, nobody knows when. */
  readonly midstream?: boolean;
  /** Where the kernel delivered it: port 15001 after a REDIRECT, the gateway's own 8080. `ip` in canonical text. */
  readonly listener: { readonly ip?: string; readonly port: number };
  /** Original destination. */
  readonly destination: { readonly ip: string; readonly port: number };
  readonly source: { readonly ip: string; readonly port: number };
  /** Did the client open with a TLS ClientHello? */
  readonly transport: 'raw_buffer' | 'tls' | 'unknown';
  /** SNI; '' of a ClientHello without one; absent unknown. */
  readonly serverName?: string;
  /** ALPN list in the client's order; empty of a ClientHello without one; absent unknown. */
  readonly alpn?: readonly string[];
  /** What an HTTP inspector would have seen: `none` bytes that are no HTTP, `no-bytes` the client sent nothing. */
  readonly http?: 'http/1.0' | 'http/1.1' | 'h2c' | 'none' | 'no-bytes' | 'unknown';
  /** URI SAN of the client's certificate; '' none shown; absent unknown. */
  readonly peer?: string;
}
