/**
 * What conntrack knows of one connection, from whatever form it was read.
 */
export interface TupleEnd {
  ip: string;
  port?: number;
}

export interface Tuple {
  source: TupleEnd;
  destination: TupleEnd;
  icmp?: { type: number; code: number; id: number };
  packets?: number;
  bytes?: number;
}

export interface ConntrackEntry {
  family: 4 | 6;
  /** `tcp`, `udp`, `icmp`, …; a number where the protocol has no common name. */
  protocol: string;
  /** TCP, SCTP or DCCP state: `SYN_SENT`, `ESTABLISHED`, … */
  state?: string;
  /** What the opener asked for. */
  original: Tuple;
  /** What the answers look like: its source is where the connection really went. */
  reply: Tuple;
  zone?: number;
  zoneOriginal?: number;
  zoneReply?: number;
  mark?: number;
  id?: number;
  unreplied: boolean;
  assured: boolean;
  /** Seconds left. */
  timeout?: number;
  /** Seconds that the connection has lived (`delta-time`). */
  ageSeconds?: number;
}

export interface ConntrackTable {
  entries: ConntrackEntry[];
  /** Lines that are no entries, and no comments either. */
  skipped: number;
  /** There were more than can be kept; the rest was not read. */
  truncated: boolean;
}
