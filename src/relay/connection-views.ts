/**
 * The same connection as two nodes saw it: of a flow that leaves its namespace, the flow that comes in elsewhere. They are one when both saw the same initial sequence number from the same opener; where a
 * handshake was not seen, when the tuple and the time are the same and no other fits. The same rules as src/path/chain.ts has for the namespaces of one node, on records.
 */
import { formatEndpoint } from '../net/address.ts';
import { parseTimeNs, type TimeBase } from '../net/time.ts';
import type { Evidence, FlowRecord, Leg } from '../record/record.ts';
import type { ClockOffsets, HandshakeView } from './clock-offset.ts';
import { RecentMap } from './recent-map.ts';

/** Flows that are remembered. */
const FLOWS_MAX = 100_000;
/** Addresses that are known to be a namespace's own. */
const ADDRESSES_MAX = 65_536;
/** Ports are used again: two views of one connection are of the same time (nodes' clocks may differ by seconds). */
const CLOCKS_NS = 30e9;
/** The same where the clocks' offset is known. */
const KNOWN_CLOCKS_NS = 1e9;

/** A flow that another node may have seen, too. */
export interface ConnectionView {
  readonly id: string;
  readonly node: string;
  readonly netns: string;
  roles: Leg[];
  way: 'leaves' | 'arrives' | 'unknown';
  /** The opener's end and its initial sequence number; absent when its SYN was not seen. */
  syn: string | undefined;
  tuple: string;
  firstNs: number;
  lastNs: number;
  closed: boolean;
  /** Paths that it says to be part of. */
  pathCount: number;
  handshake: HandshakeView | undefined;
  clocksTold: boolean;
  other: ConnectionView | undefined;
  evidence: Evidence;
}

const leaving: ReadonlySet<Leg> = new Set<Leg>(['proxy-to-upstream', 'dns-agent-to-resolver']);
const arriving: ReadonlySet<Leg> = new Set<Leg>(['client-to-proxy', 'probe']);
const either: ReadonlySet<Leg> = new Set<Leg>(['direct', 'control', 'telemetry', 'hbone', 'unknown']);

export class ConnectionViews {
  readonly #offsets: ClockOffsets;
  readonly #base: TimeBase;
  readonly #views = new RecentMap<string, ConnectionView>(FLOWS_MAX, (view) => this.#forget(view));
  readonly #byKey = new Map<string, Set<ConnectionView>>();
  /** `node\nnetns\nip` of addresses that roles prove to be a namespace's own. */
  readonly #own = new Set<string>();

  constructor(base: TimeBase, offsets: ClockOffsets) {
    this.#base = base;
    this.#offsets = offsets;
  }

  find(flow: string): ConnectionView | undefined {
    return this.#views.get(flow);
  }

  /** Takes a flow, or the newer state of one. @returns its view, when another node may have one, too */
  take(flow: FlowRecord): ConnectionView | undefined {
    this.#learn(flow);
    let view = this.#views.get(flow.id);
    const way = this.#wayOf(flow);
    if (view === undefined) {
      if (way === undefined) return undefined;
      view = {
        id: flow.id,
        node: flow.node,
        netns: flow.netns,
        roles: flow.roles,
        way,
        syn: undefined,
        tuple: '',
        firstNs: 0,
        lastNs: 0,
        closed: false,
        pathCount: 0,
        handshake: undefined,
        clocksTold: false,
        other: undefined,
        evidence: 'unavailable',
      };
      this.#views.set(flow.id, view);
    }
    view.roles = flow.roles;
    view.firstNs = parseTimeNs(this.#base, flow.first) ?? 0;
    view.lastNs = parseTimeNs(this.#base, flow.last) ?? view.firstNs;
    view.closed = flow.event === 'close';
    view.pathCount = flow.pathCount ?? flow.paths?.length ?? 0;
    view.handshake ??= handshakeOf(view.firstNs, flow);
    if (view.other !== undefined) {
      this.#tellClocks(view);
      return view;
    }
    view.way = way ?? 'unknown';
    this.#index(view, flow);
    this.#pair(view);
    this.#tellClocks(view);
    return view;
  }

  /** What the roles of a flow prove of its ends. */
  #learn({ node, netns, roles, source, destination }: FlowRecord): void {
    if (this.#own.size >= ADDRESSES_MAX) return;
    const own =
      roles.includes('app-to-proxy') || roles.includes('proxy-to-upstream')
        ? source.ip
        : roles.includes('client-to-proxy')
          ? destination.ip
          : undefined;
    if (own !== undefined) this.#own.add(`${node}\n${netns}\n${own}`);
  }

  /** `undefined`: it stays within its namespace. */
  #wayOf(flow: FlowRecord): ConnectionView['way'] | undefined {
    const leaves = flow.roles.some((role) => leaving.has(role));
    const arrives = flow.roles.some((role) => arriving.has(role));
    if (leaves || arrives) return leaves && arrives ? undefined : leaves ? 'leaves' : 'arrives';
    if (!flow.roles.some((role) => either.has(role))) return undefined;
    const pod = flow.pod === undefined ? undefined : `${flow.pod.namespace}/${flow.pod.name}`;
    const isOwn = (ip: string, name: string | undefined): boolean =>
      (pod !== undefined && name === pod) || this.#own.has(`${flow.node}\n${flow.netns}\n${ip}`);
    const from = isOwn(flow.source.ip, flow.source.pod);
    const to = isOwn(flow.destination.ip, flow.destination.pod);
    if (from && to) return undefined;
    return from ? 'leaves' : to ? 'arrives' : 'unknown';
  }

  #index(view: ConnectionView, flow: FlowRecord): void {
    const { source, destination, translated, protocol, tcp } = flow;
    if (source.port === undefined || destination.port === undefined) return;
    const opener = translated?.source ?? { ip: source.ip, port: source.port };
    // Who leaves shows what the node made of its destination; who arrives, what came over the wire, before its own rules.
    const target =
      view.way === 'arrives' || translated === undefined ? { ip: destination.ip, port: destination.port } : translated.destination;
    const from = view.way === 'arrives' ? { ip: source.ip, port: source.port } : opener;
    const end = formatEndpoint(from.ip, from.port);
    const isn = tcp?.isn?.toDestination;
    const keys = [isn === undefined ? undefined : `${end} ${isn}`, `${protocol} ${end} ${formatEndpoint(target.ip, target.port)}`];
    if (view.syn === keys[0] && view.tuple === keys[1]) return;
    this.#remove(view);
    [view.syn, view.tuple] = [keys[0], keys[1]!];
    for (const key of keys) {
      if (key === undefined) continue;
      const set = this.#byKey.get(key);
      if (set === undefined) this.#byKey.set(key, new Set([view]));
      else set.add(view);
    }
  }

  #remove(view: ConnectionView): void {
    for (const key of [view.syn, view.tuple]) {
      const set = key === undefined ? undefined : this.#byKey.get(key);
      set?.delete(view);
      if (set?.size === 0) this.#byKey.delete(key!);
    }
  }

  #pair(view: ConnectionView): void {
    if (view.way === 'unknown') return;
    const found = this.#counterpart(view);
    if (found === undefined) return;
    const { other, evidence } = found;
    [view.other, view.evidence] = [other, evidence];
    [other.other, other.evidence] = [view, evidence];
  }

  #counterpart(view: ConnectionView): { other: ConnectionView; evidence: Evidence } | undefined {
    const fits = (other: ConnectionView): boolean => other.node !== view.node && other.other === undefined && opposite(view, other);
    // A sequence number of 32 bits under one opener's port needs no look at clocks, which may be set at any time.
    if (view.syn !== undefined) {
      const same = [...(this.#byKey.get(view.syn) ?? [])].filter(fits);
      if (same.length === 1) return { other: same[0]!, evidence: 'observed' };
      if (same.length > 1) return undefined;
    }
    const same = this.#alike(view);
    if (same.length === 1 && same[0]!.other === undefined && this.#alike(same[0]!).length === 1)
      return { other: same[0]!, evidence: 'derived' };
    // What was taken for its only fit has another one now.
    for (const { other } of same)
      if (other !== undefined) {
        other.other!.other = undefined;
        other.other = undefined;
      }
    return undefined;
  }

  /** Views of the same tuple and time that fit, also those that were taken for another's. */
  #alike(view: ConnectionView): ConnectionView[] {
    return [...(this.#byKey.get(view.tuple) ?? [])].filter(
      (other) =>
        other.node !== view.node &&
        (other.other === undefined || other.evidence === 'derived') &&
        opposite(view, other) &&
        (view.syn === undefined || other.syn === undefined) &&
        this.#overlaps(view, other),
    );
  }

  #overlaps(a: ConnectionView, b: ConnectionView): boolean {
    const known = this.#offsets.between(a.node, b.node);
    const shift = known?.ns ?? 0;
    const slack = known === undefined ? CLOCKS_NS : known.errorNs + KNOWN_CLOCKS_NS;
    return b.firstNs - shift <= a.lastNs + slack && a.firstNs <= b.lastNs - shift + slack;
  }

  /** Both saw the whole handshake: it tells of their clocks. */
  #tellClocks(view: ConnectionView): void {
    const { other } = view;
    if (other === undefined || view.clocksTold || view.evidence !== 'observed') return;
    const [opener, acceptor] = view.way === 'leaves' ? [view, other] : [other, view];
    if (opener.handshake === undefined || acceptor.handshake === undefined) return;
    view.clocksTold = true;
    other.clocksTold = true;
    this.#offsets.handshake(opener.node, opener.handshake, acceptor.node, acceptor.handshake);
  }

  #forget(view: ConnectionView): void {
    this.#remove(view);
    if (view.other !== undefined) view.other.other = undefined;
  }
}

function opposite(a: ConnectionView, b: ConnectionView): boolean {
  return (a.way === 'leaves' && b.way === 'arrives') || (a.way === 'arrives' && b.way === 'leaves');
}

/** From the first SYN to the ACK that ended it: see docs/records.md, TCP. */
function handshakeOf(firstNs: number, { tcp, midstream }: FlowRecord): HandshakeView | undefined {
  return tcp?.handshakeMs === undefined || tcp.isn?.toDestination === undefined || midstream
    ? undefined
    : { synNs: firstNs, ackNs: firstNs + tcp.handshakeMs * 1e6 };
}
