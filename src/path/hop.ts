/**
 * A hop: what one proxy did with one request or one connection. It came in on a downstream leg, and went on on an upstream leg where one was found.
 */
import type { Subject } from '../annotate/subject.ts';
import type { AccessLogEntry } from '../envoy/access-log.ts';
import type { RoutedDecision } from '../envoy/alternative.ts';
import type { Exchange } from '../flow/http.ts';
import type { Reason } from '../record/reason.ts';
import type { Evidence, PathJoin } from '../record/record.ts';
import type { Place } from './place.ts';

export interface HopJoin {
  readonly by: PathJoin['by'];
  readonly evidence: Evidence;
  /** Other legs that fit, when it is ambiguous. */
  readonly candidates?: readonly Subject[];
  readonly reason?: Reason;
}

export interface Hop {
  readonly of: 'connection' | 'request';
  readonly direction: 'inbound' | 'outbound';
  /** `undefined` when it could not be told on which downstream leg it came in. */
  readonly down?: Subject;
  readonly up?: Subject;
  readonly join?: HopJoin;
  /** Upstream connections that were opened for it before `up`, and failed; oldest first. */
  readonly attempts?: readonly Subject[];
  /** The request as the side read in the clear shows it. */
  readonly exchange?: Exchange;
  /** On which side it was read. */
  readonly readOn?: 'down' | 'up';
  /** Outbound requests: the connections on which they may have been sent, whatever became of it. */
  readonly tried?: readonly Subject[];
  /** Where it lies on the other side's connection, where that is known; else, where only the connection is, the places in which it may. */
  readonly place?: Place;
  readonly mayLie?: readonly Place[];
  routed?: RoutedDecision;
  /** What the proxy's access log says of it. */
  readonly logged?: AccessLogEntry;
}
