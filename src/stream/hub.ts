/**
 * Between the engine and the subscribers: numbers and encodes what is published, keeps it in the ring, gives it to everybody who wants it. Knows nothing of sockets and of who may what.
 */
import { randomUUID } from 'node:crypto';
import { formatEpochMs } from '../net/time.ts';
import { addLoss, type LastLosses } from '../record/lost.ts';
import type { AnyRecord, TotalRecord } from '../record/record.ts';
import type { Batch } from './batch.ts';
import { BatchEncoder, ROW_BYTES_MAX } from './encoder.ts';
import { Group } from './group.ts';
import { HELD_MAX, type Knowledge } from './judge.ts';
import { Outgoing } from './outgoing.ts';
import { closeCodes, type HelloMessage, helloFields, protocolVersion, type SubscribeMessage } from './protocol.ts';
import { RecordIndex } from './record-index.ts';
import { Replay, type ReplayStart } from './replay.ts';
import { Ring } from './ring.ts';
import { parseSelection, type Selection, SubscribeError } from './selection.ts';
import type { Selector } from './selector.ts';
import type { Subscriber } from './subscriber.ts';

export interface HubOptions {
  readonly node: string;
  /** Name and version of the program, for hello. */
  readonly software: string;
  /** Words for hello beside our own: what else this daemon offers. */
  readonly capabilities?: readonly string[];
  /** Names this run; made up when it is absent. */
  readonly boot?: string;
  /** Bytes of encoded records that are kept; 64 MiB. */
  readonly ringBytes?: number;
  /** Batches that are kept; 131,072. */
  readonly ringBatches?: number;
  /** How long records may be gathered for one message; 10 ms. */
  readonly flushMs?: number;
  /** How long a filter on paths waits for them; 1000 ms. */
  readonly holdMs?: number;
  /** Labels of `namespace/name`. */
  labelsOf?(pod: string): { readonly [label: string]: string } | undefined;
}

/** How many bring the past to their subscribers at once; others wait. */
const REPLAYS_MAX = 4;
/** How long records themselves are kept beside their encoded form, beyond what filters wait. */
const FRESH_BATCHES = 64;
/** What may go into the filters of one replay. */
const REPLAY_SPENT_MS = 10_000;
const STATUS_MS = 10_000;
const own = ['context', 'filter', 'follow', 'last', 'resume', 'since', 'types', 'until'];

interface Member {
  readonly subscriber: Subscriber;
  readonly live: Selection;
  readonly follow: boolean;
  readonly until: string | undefined;
  replay: Replay | undefined;
  group: Group | undefined;
  statusAt: number;
}

export interface HubState {
  /** Number of the newest record. */
  readonly seq: number;
  readonly oldest: number;
  readonly ringBytes: number;
  readonly ringBatches: number;
  readonly indexEntries: number;
  readonly subscribers: number;
  /** Records given to subscribers and lost on the way, in all. */
  readonly sent: number;
  readonly lost: number;
  readonly queuedBytes: number;
  readonly closedSlow: number;
}

export class Hub {
  readonly boot: string;
  readonly #options: HubOptions;
  readonly #encoder: BatchEncoder;
  readonly #ring: Ring;
  readonly #index: RecordIndex;
  readonly #knowledge: Knowledge;
  readonly #members = new Map<Subscriber, Member>();
  readonly #all = new Set<Subscriber>();
  readonly #groups = new Map<string, Group>();
  readonly #waitingReplays: Replay[] = [];
  readonly #replays = new Set<Replay>();
  readonly #fresh: Batch[] = [];
  #freshRows = 0;
  readonly #tick: NodeJS.Timeout;
  readonly #losses: LastLosses = new Map();
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #sealedAt = 0;
  #sweptAt = 0;
  #sent = 0;
  #lost = 0;
  #closedSlow = 0;
  #closed = false;

  constructor(options: HubOptions) {
    this.#options = options;
    this.boot = options.boot ?? randomUUID();
    this.#ring = new Ring(options.ringBytes ?? 64 * 1024 * 1024, options.ringBatches ?? 131_072);
    this.#index = new RecordIndex(this.#ring);
    const holdMs = options.holdMs ?? 1000;
    this.#knowledge = { index: this.#index, holdMs, labelsOf: (pod) => options.labelsOf?.(pod) };
    this.#encoder = new BatchEncoder(
      (batch) => this.#take(batch),
      (record, bytes) => this.#tooLong(record, bytes),
      () => performance.now(),
    );
    this.#tick = setInterval(() => this.#advance(), Math.max(10, Math.min(100, holdMs / 4)));
    this.#tick.unref();
  }

  /** Milliseconds of a clock that never goes back. */
  clock(): number {
    return performance.now();
  }

  /** Now, as records write it. */
  timeText(): string {
    return formatEpochMs(Date.now());
  }

  publish(records: readonly AnyRecord[]): void {
    if (this.#closed) return;
    for (const record of records) this.#encoder.add(record);
    if (this.#encoder.waiting > 0) this.#scheduleSeal();
  }

  /** Whoever publishes rarely is served at once, whoever publishes often in batches. */
  #scheduleSeal(): void {
    if (this.#timer !== undefined || this.#immediate !== undefined) return;
    const left = this.#sealedAt + (this.#options.flushMs ?? 10) - performance.now();
    if (left <= 0) this.#immediate = setImmediate(() => this.#seal());
    else this.#timer = setTimeout(() => this.#seal(), left);
  }

  #seal(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
    this.#sealedAt = performance.now();
    this.#encoder.seal();
  }

  #take(batch: Batch): void {
    this.#ring.push(batch);
    this.#index.add(batch, batch.records!);
    this.#fresh.push(batch);
    this.#freshRows += batch.length;
    this.#letGo(batch.at);
    if (this.#all.size > 0) {
      const message = batch.outgoing();
      for (const subscriber of this.#all) subscriber.offer(message);
    }
    for (const group of this.#groups.values()) group.take(batch);
  }

  /** Filters that wait look at the records again: those are kept so long, within bounds. */
  #letGo(now: number): void {
    const oldest = now - (this.#groups.size > 0 ? this.#knowledge.holdMs : 0);
    while (this.#fresh.length > FRESH_BATCHES && (this.#fresh[0]!.at < oldest || this.#freshRows > HELD_MAX)) {
      const batch = this.#fresh.shift()!;
      this.#freshRows -= batch.length;
      batch.records = undefined;
    }
  }

  #tooLong(record: AnyRecord, bytes: number): void {
    const detail = `Cannot send a record of type ${record.type} with ${bytes} bytes: at most ${ROW_BYTES_MAX} are sent`;
    const loss = { source: 'stream_row', count: 1, exact: true, atNs: 0, detail };
    const base = { epochSeconds: Math.floor(Date.now() / 1000) };
    this.#encoder.add(addLoss(this.#losses, loss, { node: this.#options.node }, base));
  }

  hello(): HelloMessage {
    this.#seal();
    return {
      message: 'hello',
      version: protocolVersion,
      software: this.#options.software,
      node: this.#options.node,
      boot: this.boot,
      seq: this.#ring.newest,
      oldest: this.#ring.oldest,
      time: this.timeText(),
      fields: helloFields,
      capabilities: [...own, ...(this.#options.capabilities ?? [])],
    };
  }

  /** @throws {SubscribeError} when what is asked for means nothing */
  subscribe(subscriber: Subscriber, message: SubscribeMessage): void {
    this.#seal();
    const { past, live, until } = parseSelection(message, this.timeText());
    const { start, miss } = this.#start(message, until);
    const member: Member = {
      subscriber,
      live,
      follow: message.follow ?? true,
      until,
      replay: undefined,
      group: undefined,
      statusAt: this.clock(),
    };
    this.#members.set(subscriber, member);
    const deps = { ring: this.#ring, knowledge: this.#knowledge, clock: () => this.clock() };
    const replay = new Replay(subscriber, past, start, deps, () => this.#caughtUp(member));
    member.replay = replay;
    if (miss !== undefined) {
      subscriber.begin(miss.from - 1);
      subscriber.miss(miss.count, start.seq - 1, miss.exact, 'gap', miss.detail);
    }
    this.#waitingReplays.push(replay);
    this.#beginReplays();
  }

  /** Where the records that are asked for begin, and what of them cannot be had any more. */
  #start(
    { resume, last, since, follow }: SubscribeMessage,
    until: string | undefined,
  ): { start: ReplayStart; miss?: { from: number; count: number; exact: boolean; detail: string } } {
    const { newest, oldest } = this.#ring;
    if (resume === undefined) {
      const past = last !== undefined || since !== undefined || until !== undefined || follow === false;
      return { start: { seq: past ? oldest : newest + 1, last, until } };
    }
    if (last !== undefined) throw new SubscribeError('Cannot use "resume" and "last" together: one of them is wanted');
    if (resume.boot !== this.boot) {
      const detail = `The daemon has been started anew: what it published before its end and was not received is not known; ${oldest - 1} records of the new run are gone`;
      return { start: { seq: oldest, last, until }, miss: { from: 1, count: oldest - 1, exact: false, detail } };
    }
    if (resume.seq > newest)
      throw new SubscribeError(`Cannot resume behind record ${resume.seq}: it must be one that was published, the newest is ${newest}`);
    if (resume.seq + 1 >= oldest) return { start: { seq: resume.seq + 1, last, until } };
    const count = oldest - resume.seq - 1;
    const detail = `Records ${resume.seq + 1} to ${oldest - 1} came while nobody received them, and are kept no longer`;
    return { start: { seq: oldest, last, until }, miss: { from: resume.seq + 1, count, exact: true, detail } };
  }

  #beginReplays(): void {
    while (this.#replays.size < REPLAYS_MAX) {
      const replay = this.#waitingReplays.shift();
      if (replay === undefined) return;
      this.#replays.add(replay);
      replay.begin();
    }
  }

  #endReplay(member: Member): void {
    const { replay } = member;
    if (replay === undefined) return;
    replay.stop();
    member.replay = undefined;
    this.#replays.delete(replay);
    const at = this.#waitingReplays.indexOf(replay);
    if (at !== -1) this.#waitingReplays.splice(at, 1);
    this.#beginReplays();
  }

  /** The past has been sent: it is one of those who get what comes, or has got all. */
  #caughtUp(member: Member): void {
    const { subscriber, live } = member;
    const { selector } = member.replay!;
    if (!member.follow) {
      selector.judge.advance(this.clock(), this.#ring.newest);
      if (selector.judge.held > 0) {
        member.replay!.again();
        return;
      }
      this.#endReplay(member);
      subscriber.end(closeCodes.done, 'end');
      return;
    }
    this.#endReplay(member);
    if (live.all) this.#all.add(subscriber);
    else {
      member.group = this.#join(subscriber, live, selector);
    }
    this.#status(member, selector.covered);
  }

  /** From here on it gets what comes together with all who want the same. */
  #join(subscriber: Subscriber, live: Selection, selector: Selector): Group {
    const { covered, judge } = selector;
    const known = this.#groups.get(live.key);
    if (known !== undefined) {
      if (covered < known.selector.covered) judge.advance(this.clock(), known.selector.covered);
      if (known.join(subscriber, selector.covered)) return known;
    }
    const { covered: at } = selector;
    const key = known === undefined ? live.key : `${live.key} ${subscriber.options.id}`;
    const group = new Group(key, live, this.#knowledge, at, () => this.clock());
    this.#groups.set(key, group);
    group.members.add(subscriber);
    // What the judge of the past still waits with.
    for (let seq = at + 1; ; ) {
      const batch = this.#ring.find(seq);
      if (batch === undefined) return group;
      group.selector.judge.feed(batch, seq - batch.seq, this.clock());
      seq = batch.last + 1;
    }
  }

  #status(member: Member, seq: number): void {
    const { subscriber } = member;
    member.statusAt = this.clock();
    if (subscriber.drops) return;
    const state = member.replay === undefined ? 'live' : 'replay';
    subscriber.offer(Outgoing.of({ message: 'status', seq, time: this.timeText(), state, sent: subscriber.sent, lost: subscriber.lost }));
  }

  /** It has gone. */
  remove(subscriber: Subscriber): void {
    const member = this.#members.get(subscriber);
    if (member === undefined) return;
    this.#members.delete(subscriber);
    this.#leave(member);
    this.#sent += subscriber.sent;
    this.#lost += subscriber.lost;
  }

  #leave(member: Member): void {
    const { subscriber, group } = member;
    this.#endReplay(member);
    this.#all.delete(subscriber);
    group?.members.delete(subscriber);
    if (group?.members.size === 0) this.#groups.delete(group.key);
    member.group = undefined;
  }

  #advance(): void {
    for (const group of this.#groups.values()) group.advance();
    const now = this.clock();
    if (now - this.#sweptAt < 1000) return;
    this.#sweptAt = now;
    for (const group of this.#groups.values())
      if (group.isTooExpensive()) this.#endExpensive([...this.#members.values()].filter((member) => member.group === group));
    for (const replay of this.#replays)
      if (replay.selector.judge.spent > REPLAY_SPENT_MS) this.#endExpensive([this.#members.get(replay.subscriber)!]);
    const time = this.timeText();
    for (const member of this.#members.values()) this.#look(member, now, time);
  }

  #look(member: Member, now: number, time: string): void {
    const { subscriber, until, replay } = member;
    const ended = subscriber.ended;
    if (subscriber.checkStall()) {
      if (!ended) {
        this.#closedSlow++;
        this.#leave(member);
      }
      return;
    }
    if (replay === undefined && until !== undefined && time > until) {
      member.group?.selector.judge.advance(now, this.#ring.newest);
      this.#leave(member);
      subscriber.end(closeCodes.done, 'end');
    } else if (now - member.statusAt >= STATUS_MS) {
      const covered = replay?.selector.covered ?? member.group?.selector.covered ?? this.#ring.newest;
      this.#status(member, covered);
    }
  }

  #endExpensive(members: readonly Member[]): void {
    const text = 'Cannot go on with these filters: they take more time for each record than a node has for them; simpler ones are wanted';
    for (const member of members) {
      this.#leave(member);
      member.subscriber.end(closeCodes.tooExpensive, 'too-expensive', { error: { code: 'too-expensive', text } });
    }
  }

  state(): HubState {
    let [sent, lost, queuedBytes] = [this.#sent, this.#lost, 0];
    for (const subscriber of this.#members.keys()) {
      sent += subscriber.sent;
      lost += subscriber.lost;
      queuedBytes += subscriber.queuedBytes;
    }
    return {
      seq: this.#encoder.seq,
      oldest: this.#ring.oldest,
      ringBytes: this.#ring.bytes,
      ringBatches: this.#ring.batches,
      indexEntries: this.#index.size,
      subscribers: this.#members.size,
      sent,
      lost,
      queuedBytes,
      closedSlow: this.#closedSlow,
    };
  }

  *subscribers(): Generator<Subscriber> {
    yield* this.#members.keys();
  }

  /** Everything published so far is sent, and `bye` with the totals. */
  close(totals: TotalRecord | undefined): void {
    if (this.#closed) return;
    this.#seal();
    this.#closed = true;
    clearInterval(this.#tick);
    for (const group of this.#groups.values()) group.selector.judge.advance(this.clock(), this.#ring.newest);
    for (const member of [...this.#members.values()]) {
      if (member.replay !== undefined) this.#missRest(member.subscriber, member.replay.selector);
      else if (member.group !== undefined) this.#missRest(member.subscriber, member.group.selector);
      this.#leave(member);
      member.subscriber.end(closeCodes.goingAway, 'shutdown', totals === undefined ? {} : { totals });
    }
  }

  /** The daemon ends before everything could be looked at. */
  #missRest(subscriber: Subscriber, { covered, selection }: Selector): void {
    const { newest } = this.#ring;
    const detail = 'The daemon ended before all that was kept could be looked at';
    if (covered < newest) subscriber.miss(newest - covered, newest, selection.all, 'subscriber_queue', detail);
  }
}
