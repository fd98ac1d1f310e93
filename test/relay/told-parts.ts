/** What two nodes tell of requests on one connection from node a to node b, as short as it can be said. */
import { formatTime } from '../../src/net/time.ts';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';

type Role = FlowRecord['roles'][number];
type Request = PathRecord['request'];

export const base = { epochSeconds: Date.UTC(2026, 10, 30, 10) / 1000 };

export function stamp(ms: number): string {
  return formatTime(base, ms * 1e6);
}

/** @param isn of its opener; `undefined`: its handshake was not seen */
export function flow(id: string, node: string, role: Role, first: number, last: number, isn: number | undefined): FlowRecord {
  return {
    type: 'flow',
    id,
    event: 'close',
    state: 'closed',
    node,
    netns: node,
    protocol: 'tcp',
    first: stamp(first),
    last: stamp(last),
    source: { ip: '10.0.0.1', port: 40_000 },
    destination: { ip: '10.0.1.1', port: 80 },
    interfaces: ['eth0'],
    roles: [role],
    counters: { toDestination: { packets: 9, bytes: 900 }, toSource: { packets: 9, bytes: 900 } },
    ...(isn === undefined ? { midstream: true as const } : {}),
    tcp: {
      flags: { toDestination: 'SYN', toSource: 'SYN' },
      ...(isn === undefined ? {} : { isn: { toDestination: isn, toSource: 1 }, handshakeMs: 1 }),
      retransmissions: 0,
      outOfOrder: 0,
      zeroWindows: 0,
    },
  };
}

export function part(
  id: string,
  node: string,
  from: number,
  to: number,
  legs: readonly (readonly [flow: string, role: Role, seq?: number | undefined])[],
  request: Request,
): PathRecord {
  return {
    type: 'path',
    id,
    event: 'close',
    of: 'request',
    first: stamp(from),
    last: stamp(to),
    complete: true,
    legs: legs.map(([name, role, seq]) => ({ flow: name, roles: [role], node, netns: node, ...(seq === undefined ? {} : { seq }) })),
    joins: [{ from: 0, to: 1, by: 'order', evidence: 'derived' }],
    ...(request === undefined ? {} : { request }),
  };
}

const X: Request = { method: 'GET', path: '/x', status: 200 };

/** The part of node a, which leaves on the flow `up`. @param seq where it lies on it */
export function out(id: string, from: number, to: number, request: Request = X, seq?: number): PathRecord {
  return part(
    id,
    'a',
    from,
    to,
    [
      ['down', 'app-to-proxy'],
      ['up', 'proxy-to-upstream', seq],
    ],
    request,
  );
}

/** The part of node b, which comes in on the flow `in`. */
export function into(id: string, from: number, to: number, request: Request = X, seq?: number): PathRecord {
  return part(
    id,
    'b',
    from,
    to,
    [
      ['in', 'client-to-proxy', seq],
      ['app', 'proxy-to-app'],
    ],
    request,
  );
}
