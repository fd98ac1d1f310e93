/** One connection while it is being judged: the flow, the world it lives in, the record that is filled, and what annotators found on the way. */
import type { RoutedDecision } from '../envoy/alternative.ts';
import type { ConnectionDecision } from '../envoy/connection.ts';
import type { ConnectionTracker } from '../flow/exchange.ts';
import type { Flow } from '../flow/flow.ts';
import type { TimeBase } from '../net/time.ts';
import type { FlowRecord } from '../record/record.ts';
import type { World } from '../world/world.ts';
import type { Place } from './place.ts';
import type { ProxyPorts } from './proxy-ports.ts';
import type { Judgement } from './rule.ts';
import type { Translation } from './translation.ts';

export interface Subject {
  readonly flow: Flow;
  readonly world: World;
  readonly base: TimeBase;
  readonly record: FlowRecord;
  readonly translation: Translation;
  readonly place: Place;
  readonly ports: ProxyPorts;
  /** What was read of its payload. */
  readonly tracker: ConnectionTracker | undefined;
  judgement: Judgement;
  /** What the proxy decided when it accepted the connection; on downstream legs. */
  connection?: ConnectionDecision;
  /** What it decided for the connection as a whole (TCP proxy). */
  routed?: RoutedDecision;
}
