/**
 * A flow of which nothing but its packets is known, as numbers: one object, filled again for each flow. It says the same as the FlowRecord that could be made of it; sinks that can
 * write it as it is (`Sink.writePlain`) spare the millions of strings and objects of that record.
 */
import type { TimeBase } from '../net/time.ts';
import { FlowIdHash } from './flow-id.ts';
import type { FlowRecord, FlowState, Leg, RuleVerdict } from './record.ts';

export class PlainFlow {
  /** The same for all flows of a namespace. */
  readonly node: string;
  readonly netns: string;
  readonly base: TimeBase;
  /** Hashes the id; `id.hash` was called when the flow is handed out. */
  readonly id: FlowIdHash;

  state: FlowState = 'open';
  /** Closed, reset or refused: its event is `close`, otherwise `update`. */
  over = false;
  midstream = false;
  protocolNumber = 0;
  protocol = '';
  hasPorts = false;
  ipv6 = false;
  /** Source, then destination: four signed words each (net/address.ts). */
  readonly addresses: Int32Array = new Int32Array(8);
  sourcePort = 0;
  destinationPort = 0;
  // Doubles from the first store on.
  firstNs = 0.5;
  lastNs = 0.5;
  packetsToDestination = 0.5;
  packetsToSource = 0.5;
  bytesToDestination = 0.5;
  bytesToSource = 0.5;

  interfaces: readonly string[] = [];
  roles: readonly Leg[] = [];
  rule: RuleVerdict | undefined;

  /** What follows holds for TCP only. Flags are bits (decode/packet.ts TCP_*). */
  isTcp = false;
  flagsToDestination = 0;
  flagsToSource = 0;
  /** The same as a record has them. */
  flagNamesToDestination = '';
  flagNamesToSource = '';
  retransmissions = 0;
  outOfOrder = 0;
  zeroWindows = 0;
  /** Initial sequence numbers, as signed 32 bits, where `hasIsn…` says that they were seen. */
  hasIsnToDestination = false;
  hasIsnToSource = false;
  isnToDestination = 0;
  isnToSource = 0;
  /** Milliseconds to the microsecond, -1 where unknown. */
  rttMs = 0.5;
  handshakeMs = 0.5;

  icmp: FlowRecord['icmp'];
  dns: FlowRecord['dns'];

  constructor(node: string, netns: string, base: TimeBase) {
    this.node = node;
    this.netns = netns;
    this.base = base;
    this.id = new FlowIdHash(node, netns, base);
  }
}
