/** From a flow to its record: what the packets alone say. Annotators add the rest. */
import type { TimeBase } from '../net/time.ts';
import { formatTime } from '../net/time.ts';
import { flowId } from '../record/flow-id.ts';
import type { FlowRecord } from '../record/record.ts';
import type { FlowExtra } from './extra.ts';
import { type Flow, type FlowEnd, tcpFlagNames } from './flow.ts';

export interface FlowRecordScope {
  readonly node: string;
  readonly netns: string;
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly base: TimeBase;
}

function peer(end: FlowEnd, hasPorts: boolean): FlowRecord['source'] {
  return hasPorts ? { ip: end.ip, port: end.port } : { ip: end.ip };
}

/** Milliseconds, to the microsecond. */
export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/**
 * @param source of the original tuple, which may differ from the wire's
 * @param destination of the original tuple
 * @param zone of conntrack, where known
 */
export function makeFlowRecord(
  flow: Flow,
  scope: FlowRecordScope,
  source: FlowEnd,
  destination: FlowEnd,
  interfaces: string[],
  extra: FlowExtra | undefined,
  zone: number | undefined,
): FlowRecord {
  const { protocol, tcp } = flow;
  const hasPorts = protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp';
  const first = formatTime(scope.base, flow.firstNs);
  const record: FlowRecord = {
    type: 'flow',
    id: flowId(scope, zone ?? 0, flow.protocolNumber, source, destination, flow.firstNs),
    event: flow.ended ? 'close' : 'update',
    state: flow.state,
    ...(flow.midstream ? { midstream: true as const } : {}),
    node: scope.node,
    netns: scope.netns,
    ...(scope.pod === undefined ? {} : { pod: scope.pod }),
    protocol,
    first,
    last: formatTime(scope.base, flow.lastNs),
    source: peer(source, hasPorts),
    destination: peer(destination, hasPorts),
    ...(zone === undefined ? {} : { zone }),
    interfaces,
    ...(extra?.tunnel === undefined ? {} : { tunnel: extra.tunnel }),
    roles: ['unknown'],
    counters: {
      toDestination: { packets: flow.packetsToDestination, bytes: flow.bytesToDestination },
      toSource: { packets: flow.packetsToSource, bytes: flow.bytesToSource },
    },
  };
  if (tcp !== undefined)
    record.tcp = {
      flags: { toDestination: tcpFlagNames(tcp.flagsToDestination), toSource: tcpFlagNames(tcp.flagsToSource) },
      ...(tcp.isnToDestination === undefined && tcp.isnToSource === undefined
        ? {}
        : {
            isn: {
              ...(tcp.isnToDestination === undefined ? {} : { toDestination: tcp.isnToDestination }),
              ...(tcp.isnToSource === undefined ? {} : { toSource: tcp.isnToSource }),
            },
          }),
      ...(tcp.rttMs === undefined ? {} : { rttMs: roundMs(tcp.rttMs) }),
      ...(tcp.handshakeMs === undefined ? {} : { handshakeMs: roundMs(tcp.handshakeMs) }),
      retransmissions: tcp.retransmissions,
      outOfOrder: tcp.outOfOrder,
      zeroWindows: tcp.zeroWindows,
    };
  if (extra?.icmp !== undefined) record.icmp = extra.icmp;
  if (extra?.dns !== undefined) record.dns = extra.dns;
  return record;
}
