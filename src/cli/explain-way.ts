/**
 * The way of a hypothetical connection: through the rules of the pod that opens it, its proxy, the rules and the proxy of the pod that gets it, to the application.
 *
 * Each leg is one connection: the packet at its hook, what the rules do with it, and what the proxy that they hand it to does then. Where a proxy may choose among endpoints,
 * the way goes on with the first of them whose pod was recorded. The state of the world is that at the end of the recording.
 */
import { isLoopback } from '../net/address.ts';
import type { BatchAnswer } from '../netfilter/batch.ts';
import type { PacketQuery } from '../netfilter/packet-query.ts';
import type { Decision, Endpoint, Leg } from '../record/record.ts';
import { anyApplication, proxyOwner } from './assumed-owner.ts';
import { askProxy, type ProxyAnswer, type Target } from './proxy-way.ts';
import { behindService, bindAddressOf, isDns, judge, outwards, ownAddress, proxyListens, rulesOf } from './recorded-pod.ts';
import type { AskedRequest, Opening } from './request-options.ts';
import type { NamedWorld } from './world-of.ts';

export interface WayQuestion {
  readonly protocol: 'tcp' | 'udp';
  readonly source: Endpoint;
  /** The namespace of the opener, where it was recorded. */
  readonly world: NamedWorld | undefined;
  readonly destination: Endpoint;
  readonly owner: { readonly uid?: number; readonly gid?: number };
  readonly mark: number;
  readonly opening: Opening;
  readonly request: AskedRequest;
}

export interface WayLeg {
  readonly role: Leg;
  /** The pod or namespace that it was judged in. */
  readonly at: string;
  readonly hook: 'OUTPUT' | 'PREROUTING';
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** What happened between the leg before and this one. */
  readonly before?: string;
  readonly in?: string;
  readonly out?: string;
  /** User and group that were assumed, when nobody told. */
  readonly assumedOwner?: { readonly uid?: number; readonly gid?: number };
  readonly rule?: BatchAnswer['rule'];
  readonly tls?: { readonly sni: string; readonly alpn: readonly string[] };
  readonly request?: AskedRequest;
  readonly envoy?: Decision;
  /** Endpoints that the proxy may choose. */
  readonly targets?: readonly { readonly endpoint: Endpoint; readonly cluster: string }[];
  readonly mirrors?: readonly string[];
  /** Why the way is not known from here. */
  readonly stops?: string;
}

export interface Way {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly protocol: string;
  readonly legs: readonly WayLeg[];
  /** How it ends, in a sentence. */
  readonly end: string;
}

/** Who opens a leg. */
interface Opener {
  readonly who: 'app' | 'proxy';
  /** `undefined`: anybody whom no rule names. */
  readonly owner: { readonly uid?: number; readonly gid?: number } | undefined;
  readonly assumed: boolean;
  readonly mark: number | 'unknown';
}

/** Rules that send traffic round and round would never end. */
const LEGS_MAX = 8;
const ANY_PORT = 40_001;

export function explainWay(question: WayQuestion, worlds: readonly NamedWorld[]): Way {
  return new Walk(question, worlds).walk();
}

class Walk {
  readonly #question: WayQuestion;
  readonly #worlds: readonly NamedWorld[];
  readonly #legs: WayLeg[] = [];
  #end = '';
  /** What happened on the way to the next leg. */
  #note: string | undefined;

  constructor(question: WayQuestion, worlds: readonly NamedWorld[]) {
    this.#question = question;
    this.#worlds = worlds;
  }

  walk(): Way {
    const { source, destination, protocol, world, opening, owner, mark } = this.#question;
    if (world === undefined) this.#arrive(source, destination, opening, 'direct');
    else
      this.#leave(world, source, destination, opening, {
        who: 'app',
        mark,
        assumed: false,
        owner: owner.uid === undefined && owner.gid === undefined ? undefined : owner,
      });
    return { source, destination, protocol, legs: this.#legs, end: this.#end };
  }

  /** A packet leaves a process of the pod. */
  #leave(at: NamedWorld, source: Endpoint, destination: Endpoint, opening: Opening, opener: Opener): void {
    const { who } = opener;
    const local = at.world.addresses.has(destination.ip) || isLoopback(destination.ip);
    const out = local ? 'lo' : outwards(at);
    const held = rulesOf(at, destination.ip);
    const assumed =
      opener.owner === undefined && held !== undefined ? anyApplication(held.sets) : opener.assumed ? opener.owner : undefined;
    const leg = {
      at: at.name,
      hook: 'OUTPUT' as const,
      source,
      destination,
      out,
      ...(assumed === undefined ? {} : { assumedOwner: assumed }),
      ...tlsOf(opening),
    };
    const packet = this.#packet({ hook: 'OUTPUT', source, destination, out, owner: opener.owner ?? assumed ?? {}, mark: opener.mark });
    const rule = held === undefined ? undefined : judge(held, packet);
    const kept = who === 'app' ? (local ? 'app-to-self' : 'direct') : local ? 'proxy-to-app' : 'proxy-to-upstream';
    const taken = who === 'app' ? 'app-to-proxy' : 'client-to-proxy';
    if (rule === undefined) this.#onward(at, { ...leg, role: kept }, local, opening, 'no rules were recorded for this pod');
    else if (rule.verdict === 'REDIRECT' || rule.verdict === 'DNAT')
      this.#toProxy(at, { ...leg, role: isDns(held, rule.port) ? 'app-to-dns-agent' : taken, rule }, opening);
    else if (rule.verdict === 'ACCEPT') this.#onward(at, { ...leg, role: kept, rule }, local, opening, undefined);
    else
      this.#stop(
        { ...leg, role: 'unknown', rule },
        rule.verdict === 'DROP' ? 'the rules drop it' : `the rules leave it open (${rule.reason ?? 'unknown'})`,
      );
  }

  /** Nothing took it on the way out: it goes to its destination. */
  #onward(at: NamedWorld, leg: WayLeg, local: boolean, opening: Opening, doubt: string | undefined): void {
    this.#legs.push(leg);
    if (local) this.#end = `it reaches port ${leg.destination.port} of ${at.name} itself${doubt === undefined ? '' : ` (${doubt})`}`;
    else this.#arrive(leg.source, leg.destination, opening, leg.role);
  }

  /** A packet comes in at the pod that has the address. */
  #arrive(source: Endpoint, destination: Endpoint, opening: Opening, before: Leg): void {
    const at =
      this.#worlds.find(({ world }) => world.addresses.has(destination.ip)) ??
      (this.#worlds.length === 1 && this.#question.world === undefined && this.#worlds[0]!.world.addresses.size === 0
        ? this.#worlds[0]
        : undefined);
    const behind = at === undefined ? behindService(this.#worlds, destination) : undefined;
    if (behind !== undefined) {
      this.#note = `kube-proxy chooses a pod of ${behind.service}`;
      this.#arrive(source, behind.destination, opening, before);
      return;
    }
    if (at === undefined) {
      this.#end = `it goes to ${destination.ip}:${destination.port}, which was not recorded`;
      return;
    }
    if (this.#legs.length >= LEGS_MAX) {
      this.#end = 'it goes round in circles';
      return;
    }
    const held = rulesOf(at, destination.ip);
    const incoming = outwards(at);
    const localAddress = ownAddress(at, destination.ip) ?? destination.ip;
    const rule =
      held === undefined
        ? undefined
        : judge(held, this.#packet({ hook: 'PREROUTING', source, destination, in: incoming, localAddress, mark: 0 }));
    const leg = { at: at.name, hook: 'PREROUTING' as const, source, destination, in: incoming, ...this.#takeNote(), ...tlsOf(opening) };
    if (rule?.verdict === 'REDIRECT' || rule?.verdict === 'TPROXY' || rule?.verdict === 'DNAT')
      this.#toProxy(at, { ...leg, role: 'client-to-proxy', rule }, opening);
    else if ((rule === undefined || rule.verdict === 'ACCEPT') && proxyListens(at, destination))
      this.#toProxy(at, { ...leg, role: 'client-to-proxy', ...(rule === undefined ? {} : { rule }) }, opening);
    else if (rule === undefined || rule.verdict === 'ACCEPT') {
      this.#legs.push({ ...leg, role: before === 'direct' ? 'direct' : before, ...(rule === undefined ? {} : { rule }) });
      this.#end = `it reaches port ${destination.port} of ${at.name} without its proxy${rule === undefined ? ' (no rules were recorded for this pod)' : ''}`;
    } else
      this.#stop(
        { ...leg, role: 'unknown', rule },
        rule.verdict === 'DROP' ? 'the rules drop it' : `the rules leave it open (${rule.reason ?? 'unknown'})`,
      );
  }

  #toProxy(at: NamedWorld, leg: WayLeg, opening: Opening): void {
    const { envoy } = at.world;
    const port = leg.rule?.port ?? leg.destination.port;
    if (leg.role === 'app-to-dns-agent') {
      this.#stop(leg, `the DNS agent at port ${port} answers it, or asks the resolver`);
      return;
    }
    if (envoy === undefined) {
      this.#stop(leg, 'no Envoy configuration was recorded for this pod');
      return;
    }
    const proxy = askProxy(envoy, {
      listener: { port },
      source: leg.source,
      destination: leg.destination,
      opening,
      request: this.#question.request,
    });
    const { decision, request, mirrors } = proxy;
    const more = {
      ...leg,
      envoy: decision,
      ...(request === undefined ? {} : { request }),
      ...(proxy.targets.length === 0 ? {} : { targets: proxy.targets.map(({ endpoint, cluster }) => ({ endpoint, cluster })) }),
      ...(mirrors.length === 0 ? {} : { mirrors }),
    };
    const target = this.#choose(proxy);
    if (target === undefined) {
      this.#stop(more, whyNoTarget(proxy));
      return;
    }
    this.#legs.push(more);
    if (this.#legs.length >= LEGS_MAX) this.#end = 'it goes round in circles';
    else this.#sendOn(at, leg, target, proxy.keepsSource, port);
  }

  /** The first endpoint whose pod was recorded, else the first. */
  #choose({ targets }: ProxyAnswer): Target | undefined {
    return targets.find(({ endpoint }) => this.#worlds.some(({ world }) => world.addresses.has(endpoint.ip))) ?? targets[0];
  }

  /** The proxy opens a connection of its own: towards its application from the address that Istio binds for that, or from the client's, marked. */
  #sendOn(at: NamedWorld, leg: WayLeg, { endpoint, opening, cluster }: Target, keepsSource: boolean, port: number): void {
    const own = ownAddress(at, endpoint.ip) ?? endpoint.ip;
    const ip = keepsSource ? leg.source.ip : (bindAddressOf(at, cluster) ?? (leg.hook === 'OUTPUT' ? leg.source.ip : own));
    const owner = proxyOwner(rulesOf(at, endpoint.ip)?.sets ?? [], at.world.sockets, port);
    this.#leave(at, { ip, port: ANY_PORT }, endpoint, opening, { who: 'proxy', owner, assumed: true, mark: keepsSource ? 'unknown' : 0 });
  }

  #takeNote(): Pick<WayLeg, 'before'> {
    const note = this.#note;
    this.#note = undefined;
    return note === undefined ? {} : { before: note };
  }

  #stop(leg: WayLeg, why: string): void {
    this.#legs.push({ ...leg, stops: why });
    this.#end = why;
  }

  #packet(query: Pick<PacketQuery, 'hook' | 'source' | 'destination' | 'in' | 'out' | 'owner' | 'localAddress' | 'mark'>): PacketQuery {
    const { protocol } = this.#question;
    // The first packet of a TCP connection is a SYN.
    return { ...query, protocol, state: 'NEW', ...(protocol === 'tcp' ? { tcpFlags: 0x02 } : {}) };
  }
}

function tlsOf(opening: Opening): Pick<WayLeg, 'tls'> {
  return opening.transport === 'tls' ? { tls: { sni: opening.serverName ?? '', alpn: opening.alpn ?? [] } } : {};
}

function whyNoTarget({ decision, network }: ProxyAnswer): string {
  if (decision.outcome === 'direct-response' || decision.outcome === 'redirect')
    return `the proxy answers it by itself (${decision.outcome})`;
  if (decision.outcome !== 'forwarded' && decision.outcome !== 'unknown') return `the proxy ends it (${decision.outcome})`;
  if (network === 'other') return 'a filter of the proxy that is not followed ends the chain';
  return `the proxy's choice is not known (${decision.reason ?? decision.outcome})`;
}
