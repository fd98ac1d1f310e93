/**
 * One packet on its way through the hooks: what was asked about it, what rules have done to it so far, and what is not known.
 *
 * Every accessor notes that the input was looked at. What is not known is asked; the answers that are being tried stand in `answers`.
 */
import type { Family, Ip } from '../net/address.ts';
import { isLoopback, parseIp } from '../net/address.ts';
import { knownMark, type Mark, unknownMark } from './mark.ts';
import type { PacketQuery } from './packet-query.ts';
import { type ConnectionState, connectionStates } from './packet-query.ts';
import type { Hook } from './rule-set.ts';
import type { Answer, Input, Question, Truth } from './truth.ts';

/** What the rules name, so that an unknown input needs to be tried only once per class that they can tell apart. */
export interface Named {
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly interfaces: readonly string[];
}

export type Side = 'source' | 'destination';

export class PacketState {
  readonly hook: Hook;
  readonly family: Family;
  readonly protocol: string;
  readonly query: PacketQuery;
  readonly lookedAt: Set<Input>;
  readonly #named: () => Named;
  readonly #answers: ReadonlyMap<string, Answer>;
  readonly #addresses: { source: Ip | undefined; destination: Ip | undefined };
  readonly #ports: { source: number | undefined; destination: number | undefined };
  /** Bits of marks that answers have settled, by origin. */
  readonly #settled = new Map<string, { value: number; known: number }>();
  #mark: Mark;
  /** It was not to be tracked, but then was. */
  #anew = false;
  #connmark: Mark;
  /** Has conntrack seen it? Before priority -200 it has not, unless it came in over lo; a zone or helper attaches a template. */
  tracked: 'no' | 'template' | 'yes';
  untracked = false;
  zone: number | undefined;
  /** Which rule is being judged: see {@link askHere}. */
  place = '';

  constructor(query: PacketQuery, family: Family, named: () => Named, answers: ReadonlyMap<string, Answer>, lookedAt: Set<Input>) {
    this.query = query;
    this.hook = query.hook;
    this.family = family;
    this.protocol = query.protocol;
    this.#named = named;
    this.#answers = answers;
    this.lookedAt = lookedAt;
    this.#addresses = { source: parseIp(query.source.ip), destination: parseIp(query.destination.ip) };
    this.#ports = { source: query.source.port, destination: query.destination.port };
    this.#mark = query.mark === 'unknown' ? unknownMark('mark') : knownMark(query.mark ?? 0);
    const fresh = (query.state ?? 'NEW') === 'NEW';
    const connmark = query.connmark ?? (fresh ? 0 : 'unknown');
    this.#connmark = connmark === 'unknown' ? unknownMark('connmark') : knownMark(connmark);
    const beginning = query.hook === 'PREROUTING' || query.hook === 'OUTPUT';
    this.tracked = !beginning || this.loops ? 'yes' : 'no';
    this.zone = query.zone;
    // Of what has no connection, conntrack remembers nothing; that it is not to be tracked stays with the packet.
    if (this.loops && (query.state === 'UNTRACKED' || query.state === 'INVALID')) {
      this.untracked = query.state === 'UNTRACKED';
      this.tracked = 'no';
    }
  }

  /** A template for conntrack: it will find or make the connection in the zone that the template names. */
  trackAnew(): void {
    if (this.untracked) this.#anew = true;
    this.untracked = false;
    this.tracked = 'template';
  }

  /** Was the connection looked up at OUTPUT already, so that nat has been asked? */
  get seenBefore(): boolean {
    return this.loops && !this.#anew;
  }

  /** A packet that comes in again over lo has been through OUTPUT: conntrack knows it already. */
  get loops(): boolean {
    if (this.hook !== 'PREROUTING') return false;
    this.lookedAt.add('in');
    const { source, destination } = this.query;
    return this.query.in === 'lo' || (this.query.in === undefined && (isLoopback(source.ip) || isLoopback(destination.ip)));
  }

  /** Asks; the answer that is being tried, if there is one. */
  ask(question: Question): Answer | Question {
    this.lookedAt.add(question.input);
    return this.#answers.get(question.key) ?? question;
  }

  askTruth(key: string, input: Input, reason: Question['reason']): Truth {
    const answer = this.ask({ key, input, reason, choices: [true, false] });
    return typeof answer === 'boolean' || typeof answer === 'object' ? answer : Boolean(answer);
  }

  /** Asks something that may have another answer at each rule: chance, rates. */
  askHere(text: string, input: Input, reason: Question['reason']): Truth {
    return this.askTruth(`${this.place} ${text}`, input, reason);
  }

  address(side: Side): Ip | undefined {
    this.lookedAt.add(`${side}.ip`);
    return this.#addresses[side];
  }

  port(side: Side): number | undefined {
    this.lookedAt.add(`${side}.port`);
    return this.#ports[side];
  }

  /** Destination NAT: later chains see the new destination. An `undefined` address is one that is not known. */
  redirectTo(address: Ip | undefined, port: number | undefined): void {
    this.#addresses.destination = address;
    this.#ports.destination = port;
  }

  /** The name; `''` where the hook has no such interface. */
  interfaceName(direction: 'in' | 'out'): string | Question {
    this.lookedAt.add(direction);
    const none =
      direction === 'in' ? this.hook === 'OUTPUT' || this.hook === 'POSTROUTING' : this.hook === 'PREROUTING' || this.hook === 'INPUT';
    if (none) return '';
    const given = this.query[direction];
    if (given !== undefined) return given;
    const choices = this.#named().interfaces;
    const answer = this.ask({ key: direction, input: direction, reason: 'interface-unknown', choices });
    return typeof answer === 'object' ? answer : String(answer);
  }

  /** The user or group of the sending socket. Only what is sent from here has a socket at OUTPUT and POSTROUTING. */
  owner(field: 'uid' | 'gid'): number | 'none' | Question {
    if (this.hook !== 'OUTPUT' && this.hook !== 'POSTROUTING') return 'none';
    this.lookedAt.add(`owner.${field}`);
    const { owner } = this.query;
    if (owner === 'none' || owner === 'kernel') return 'none';
    const given = owner?.[field];
    if (given !== undefined) return given;
    const choices = field === 'uid' ? this.#named().uids : this.#named().gids;
    const answer = this.ask({ key: field, input: `owner.${field}`, reason: 'owner-unknown', choices });
    return typeof answer === 'object' ? answer : Number(answer);
  }

  /** As a rule sees it here: before conntrack everything that it has not seen is INVALID, a template makes it NEW. */
  state(): ConnectionState | Question {
    this.lookedAt.add('state');
    if (this.untracked) return 'UNTRACKED';
    if (this.tracked === 'no') return 'INVALID';
    if (this.tracked === 'template') return 'NEW';
    return this.queryState();
  }

  /** As the packet was described. */
  queryState(): ConnectionState | Question {
    this.lookedAt.add('state');
    let given = this.query.state ?? 'NEW';
    if (this.#anew && given === 'UNTRACKED') given = opensConnection(this.query) ? 'NEW' : 'unknown';
    if (given !== 'unknown') return given;
    const answer = this.ask({ key: 'state', input: 'state', reason: 'state-unknown', choices: connectionStates });
    return typeof answer === 'object' ? answer : (answer as ConnectionState);
  }

  /** `false` when there is no connection to look at: before conntrack, INVALID, UNTRACKED. */
  hasConnection(): Truth {
    if (this.untracked || this.tracked === 'no') return false;
    if (this.tracked === 'template') return true;
    const state = this.queryState();
    if (typeof state === 'object') return state;
    return state !== 'INVALID' && state !== 'UNTRACKED';
  }

  mark(which: 'mark' | 'connmark'): Mark {
    this.lookedAt.add(which);
    const mark = which === 'mark' ? this.#mark : this.#connmark;
    const settled = mark.origin === '' ? undefined : this.#settled.get(mark.origin);
    if (settled === undefined) return mark;
    return { value: (mark.value | (settled.value & ~mark.known)) >>> 0, known: (mark.known | settled.known) >>> 0, origin: mark.origin };
  }

  setMark(which: 'mark' | 'connmark', mark: Mark): void {
    if (which === 'mark') this.#mark = mark;
    else this.#connmark = mark;
  }

  /** `mark & mask == value`. */
  markIs(which: 'mark' | 'connmark', mask: number, value: number): Truth {
    const mark = this.mark(which);
    if (((mark.value ^ value) & mask & mark.known) !== 0) return false;
    const rest = (mask & ~mark.known) >>> 0;
    if (rest === 0) return true;
    const wanted = (value & rest) >>> 0;
    const answer = this.askTruth(`${mark.origin}&${rest}==${wanted}`, which, 'mark-unknown');
    if (answer === true) {
      const before = this.#settled.get(mark.origin) ?? { value: 0, known: 0 };
      this.#settled.set(mark.origin, { value: (before.value | wanted) >>> 0, known: (before.known | rest) >>> 0 });
    }
    return answer;
  }
}

/** Would conntrack make a connection of it, if it knew none? Of TCP, of a SYN. */
function opensConnection({ protocol, tcpFlags }: PacketQuery): boolean {
  return protocol === 'udp' || (protocol === 'tcp' && tcpFlags === 0x02);
}
