/**
 * Everything that conntrack said of one namespace, from dumps and events, found by either tuple.
 *
 * Tuples are used again, and the stamps of events say when user space read them: several entries with the same translation are one answer, several with different ones are none,
 * unless the other tuple, seen on the wire, tells which.
 */
import { formatEndpoint } from '../net/address.ts';
import type { ConntrackEntry } from '../netfilter/conntrack.ts';

export interface WireTuple {
  readonly protocol: string;
  readonly source: { readonly ip: string; readonly port: number };
  readonly destination: { readonly ip: string; readonly port: number };
}

type EntryTuple = ConntrackEntry['original'];

function key(protocol: string, from: { ip: string; port: number }, to: { ip: string; port: number }): string {
  return `${protocol} ${formatEndpoint(from.ip, from.port)} ${formatEndpoint(to.ip, to.port)}`;
}

/** An end of an entry as flows have it: ICMP's identifier stands for its ports. */
export function endOf(tuple: EntryTuple, side: 'source' | 'destination'): { ip: string; port: number } {
  const { ip, port } = tuple[side];
  return { ip, port: port ?? tuple.icmp?.id ?? 0 };
}

function keyOf(protocol: string, tuple: EntryTuple): string {
  return key(protocol, endOf(tuple, 'source'), endOf(tuple, 'destination'));
}

/** So many entries of one tuple are told apart: with fewer it is open already which of them is meant. */
const ALIKE_MAX = 64;

function add(index: Map<string, ConntrackEntry[]>, k: string, entry: ConntrackEntry): void {
  const list = index.get(k);
  if (list === undefined) index.set(k, [entry]);
  else if (list.length < ALIKE_MAX && !list.some((e) => same(e, entry))) list.push(entry);
}

function remove(index: Map<string, ConntrackEntry[]>, k: string, entry: ConntrackEntry): void {
  const rest = index.get(k)?.filter((e) => !same(e, entry));
  if (rest === undefined || rest.length === 0) index.delete(k);
  else index.set(k, rest);
}

/** The same connection, or another one with the same tuples, zone and mark: nothing would tell them apart. */
function same(a: ConntrackEntry, b: ConntrackEntry): boolean {
  return (
    a.zone === b.zone &&
    sameTuple(a.protocol, a.original, b.original) &&
    sameTuple(a.protocol, a.reply, b.reply) &&
    (a.mark === undefined || b.mark === undefined || a.mark === b.mark)
  );
}

function sameTuple(protocol: string, a: EntryTuple, b: EntryTuple): boolean {
  return keyOf(protocol, a) === keyOf(protocol, b);
}

export class ConntrackView {
  size = 0;
  readonly #byOriginal = new Map<string, ConntrackEntry[]>();
  readonly #byReply = new Map<string, ConntrackEntry[]>();

  constructor(entries: Iterable<ConntrackEntry>) {
    for (const entry of entries) this.add(entry);
  }

  add(entry: ConntrackEntry): void {
    this.size++;
    add(this.#byOriginal, keyOf(entry.protocol, entry.original), entry);
    add(this.#byReply, keyOf(entry.protocol, entry.reply), entry);
  }

  /** Forgets an entry that was added: the object itself, or another that says the same. */
  remove(entry: ConntrackEntry): void {
    this.size--;
    remove(this.#byOriginal, keyOf(entry.protocol, entry.original), entry);
    remove(this.#byReply, keyOf(entry.protocol, entry.reply), entry);
  }

  /** Entries whose original tuple (what the opener asked for) is this one. */
  byOriginal(wire: WireTuple): readonly ConntrackEntry[] {
    return this.#byOriginal.get(key(wire.protocol, wire.source, wire.destination)) ?? [];
  }

  /** Entries whose answers come from the destination and go to the source of this tuple. */
  byReply(wire: WireTuple): readonly ConntrackEntry[] {
    return this.#byReply.get(key(wire.protocol, wire.destination, wire.source)) ?? [];
  }
}
