/**
 * Judges one connection: each step fills its own part of the record, and later ones read what earlier ones wrote. What needs other connections too (which request went where)
 * is the business of path/.
 */
import type { ConnectionTracker } from '../flow/exchange.ts';
import type { FlowExtra } from '../flow/extra.ts';
import type { Flow } from '../flow/flow.ts';
import { makeFlowRecord } from '../flow/flow-record.ts';
import { isMeshProtocol } from '../istio/alpn.ts';
import { parseServerName } from '../istio/cluster-name.ts';
import type { TimeBase } from '../net/time.ts';
import type { World } from '../world/world.ts';
import { isEndpointOf, isNoEndpointOf } from './endpoints.ts';
import { acceptConnection, epochMs } from './envoy.ts';
import { namePeer } from './names.ts';
import { type FileInterfaceNames, findPlace, interfaceName, isHalf, type Place } from './place.ts';
import { listenerOfProxy, ownerOfProxy } from './proxy-owner.ts';
import type { ProxyPorts } from './proxy-ports.ts';
import { findRoles } from './role.ts';
import type { Judgement, Owner, RuleJudge, Seen } from './rule.ts';
import type { Subject } from './subject.ts';
import { describeTls } from './tls.ts';
import { findTranslation, type Translation } from './translation.ts';

export interface AnnotateContext {
  readonly world: World;
  readonly base: TimeBase;
  readonly judge: RuleJudge;
  readonly ports: ProxyPorts;
  readonly fileInterfaces: FileInterfaceNames;
}

/** Half of a redirected connection: its own tuple is not what the opener asked for, and conntrack did not tell the other. */
const UNTOLD: Judgement = {
  record: { verdict: 'unknown', evidence: 'unavailable', reason: 'half-unseen', steps: [] },
  byNamedOwner: 'unknown',
  ownerAsked: false,
};

export function annotate(
  flow: Flow,
  extra: FlowExtra | undefined,
  tracker: ConnectionTracker | undefined,
  context: AnnotateContext,
): Subject {
  const { world, base, ports } = context;
  const translation = findTranslation(flow, world.conntrack);
  const oriented = translation.flipped === true ? turn(flow) : flow;
  const interfaces = [...new Set(oriented.interfaceIds.map((id) => interfaceName(world, id, context.fileInterfaces)))];
  const record = makeFlowRecord(
    oriented,
    { ...world, base },
    translation.source,
    translation.destination,
    interfaces,
    extra,
    translation.zone,
  );
  const place = findPlace(world, translation.source, translation.destination, interfaces);
  const owner = place.hook === 'OUTPUT' ? socketOwner(world, oriented, translation) : undefined;
  const proxyOwner = ownerOfProxy(world, ports);
  // Only a transparent socket sends from an address that is not ours, and the proxy has it.
  const sender = owner?.owner ?? (place.onLoopback && !place.sourceIsOurs && ports.hasProxy ? proxyOwner : undefined);
  const half = translation.translated === undefined && translation.untouched === undefined && isHalf(oriented, place);
  const judgement = half
    ? UNTOLD
    : context.judge.judge(world.rulesAt(oriented.family, oriented.firstNs), {
        protocol: oriented.protocol,
        source: translation.source,
        destination: translation.destination,
        place,
        ...(sender === undefined ? {} : { owner: sender }),
        ...(proxyOwner === undefined ? {} : { proxyOwner }),
        ...localAddress(world, place.in),
        ...listenerOfProxy(world, ports),
        seen: seenOf(translation, place),
        seenBy: translation.tracked ? 'conntrack' : 'wire',
        midstream: oriented.midstream,
        sentByProxy: sentByMeshProxy(tracker),
      });
  const subject: Subject = { flow: oriented, world, base, record, translation, place, ports, tracker, judgement };
  if (translation.translated !== undefined) record.translated = translation.translated;
  if (translation.halves !== undefined) record.halves = translation.halves;
  record.rule = judgement.record;
  record.roles = findRoles({
    flow: oriented,
    source: translation.source,
    destination: translation.destination,
    place,
    rule: judgement.record,
    byProxy: owner?.isProxy ?? judgement.byNamedOwner,
    byAgent: owner?.shown.process === 'pilot-agent',
    ownerAsked: judgement.ownerAsked,
    ports,
    ...requestPath(tracker),
    isEndpoint: isEndpointOf(world.envoy, translation.destination),
    isNoEndpoint: isNoEndpointOf(world.envoy, translation.destination),
    marked: translation.mark !== undefined && translation.mark !== 0,
  });
  if (owner !== undefined) record.owner = { ...owner.shown, evidence: 'observed' };
  if (record.roles.some((role) => role === 'app-to-proxy' || role === 'client-to-proxy')) {
    const connection = acceptConnection(subject);
    if (connection !== undefined) {
      subject.connection = connection;
      record.envoy = connection.decision;
    } else if (ports.hasProxy) record.envoy = { outcome: 'unknown', evidence: { listener: 'unavailable' }, reason: 'no-config-dump' };
  }
  const tls = describeTls(tracker, subject.connection);
  if (tls !== undefined) record.tls = tls;
  const begunMs = epochMs(base, oriented.firstNs);
  namePeer(world.names, record.source, record.protocol, begunMs);
  namePeer(world.names, record.destination, record.protocol, begunMs);
  return subject;
}

/** The same flow seen from its other side. */
function turn(flow: Flow): Flow {
  return {
    ...flow,
    source: flow.destination,
    destination: flow.source,
    packetsToDestination: flow.packetsToSource,
    packetsToSource: flow.packetsToDestination,
    bytesToDestination: flow.bytesToSource,
    bytesToSource: flow.bytesToDestination,
    payloadToDestination: flow.payloadToSource,
    payloadToSource: flow.payloadToDestination,
    ...(flow.tcp === undefined
      ? {}
      : {
          tcp: {
            ...flow.tcp,
            flagsToDestination: flow.tcp.flagsToSource,
            flagsToSource: flow.tcp.flagsToDestination,
            nextToDestination: flow.tcp.nextToSource,
            nextToSource: flow.tcp.nextToDestination,
            ackToDestination: flow.tcp.ackToSource,
            ackToSource: flow.tcp.ackToDestination,
          },
        }),
  };
}

/**
 * What was seen of the translation. In OUTPUT the wire shows it: what was redirected goes to loopback. In PREROUTING the wire shows nothing, only conntrack does.
 */
function seenOf(translation: Translation, place: Place): Seen {
  if (translation.translated !== undefined) return { redirectedTo: translation.translated.destination.port };
  if (translation.untouched !== undefined) return 'untouched';
  if (place.hook !== 'OUTPUT') return undefined;
  return 'untouched';
}

function localAddress(world: World, name: string | undefined): { localAddress?: string } {
  const address = world.interfaces.find((i) => i.name === name)?.addresses[0];
  return address === undefined ? {} : { localAddress: address };
}

const PROXY_PROCESSES: ReadonlySet<string> = new Set(['envoy', 'pilot-agent', 'ztunnel']);

interface KnownOwner {
  readonly owner?: Owner;
  readonly isProxy?: boolean;
  readonly shown: { uid?: number; gid?: number; pid?: number; process?: string };
}

/** The owner of the opener's socket, where a listing of sockets shows it. */
function socketOwner(world: World, flow: Flow, translation: Translation): KnownOwner | undefined {
  const { sockets } = world;
  if (sockets === undefined) return undefined;
  const found = sockets.ownerOf(flow.protocol, translation.source, translation.destination);
  if (found === undefined) return undefined;
  const isProxy = found.process === undefined ? undefined : PROXY_PROCESSES.has(found.process);
  return {
    ...(found.uid === undefined ? {} : { owner: { uid: found.uid, ...(found.gid === undefined ? {} : { gid: found.gid }) } }),
    ...(isProxy === undefined ? {} : { isProxy }),
    shown: found,
  };
}

/** Only proxies of the mesh offer its protocols or name a cluster as server name. */
function sentByMeshProxy(tracker: ConnectionTracker | undefined): boolean {
  const hello = tracker?.tls?.clientHello;
  return hello !== undefined && (hello.alpn.some(isMeshProtocol) || (hello.sni !== undefined && parseServerName(hello.sni) !== undefined));
}

function requestPath(tracker: ConnectionTracker | undefined): { requestPath?: string } {
  const path = tracker?.exchanges[0]?.request?.path;
  return path === undefined ? {} : { requestPath: path };
}
