import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '@msgpack/msgpack';
import { Hub, type HubOptions } from '../../src/stream/hub.ts';
import { Outgoing } from '../../src/stream/outgoing.ts';
import { bounds, type ServerMessage } from '../../src/stream/protocol.ts';
import { QueuePool } from '../../src/stream/queue-pool.ts';
import { type Connection, Subscriber } from '../../src/stream/subscriber.ts';
import { finding, flowOf, requestPath } from '../output/samples.ts';
import { numbered, numberedMany } from './live.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition() && performance.now() < end) await pause(5);
  assert.ok(condition());
}

/** A socket whose far end reads only when it is told to. */
class Far implements Connection {
  readonly messages: ServerMessage[] = [];
  closed: [code: number, reason: string] | undefined;
  terminated = false;
  reads = true;
  readonly #waiting: (() => void)[] = [];

  send(bytes: Buffer, _options: object, done: () => void): void {
    const take = (): void => {
      this.messages.push(decode(bytes) as ServerMessage);
      done();
    };
    if (this.reads) setImmediate(take);
    else this.#waiting.push(take);
  }

  read(messages = Number.POSITIVE_INFINITY): void {
    for (const take of this.#waiting.splice(0, messages)) take();
  }

  close(code: number, reason: string): void {
    this.closed = [code, reason];
  }

  terminate(): void {
    this.terminated = true;
  }

  get rows(): number {
    return this.messages.reduce((sum, message) => sum + (message.message === 'records' ? message.rows.length : 0), 0);
  }

  get lost(): { count: number; exact: boolean; seq: number; last: number }[] {
    return this.messages.flatMap((message) =>
      message.message === 'lost'
        ? [{ count: message.record.count, exact: message.record.exact, seq: message.seq, last: message.last }]
        : [],
    );
  }
}

function setUp(options: Partial<HubOptions> = {}, subscriber: { queueBytes?: number; stallMs?: number; pool?: QueuePool } = {}) {
  const hub = new Hub({ node: 'node-a', software: 'test', flushMs: 1, holdMs: 40, ...options });
  const join = (): { far: Far; one: Subscriber } => {
    const far = new Far();
    const one = new Subscriber(far, {
      id: 's1',
      node: 'node-a',
      form: 'msgpack',
      principal: 'p',
      queueBytes: 4 * 1024 * 1024,
      pool: new QueuePool(0),
      stallMs: 10_000,
      timeText: () => hub.timeText(),
      clock: () => hub.clock(),
      ...subscriber,
    });
    return { far, one };
  };
  return { hub, join };
}

for (const filter of [undefined, [{ name: 'to-port', value: '80' }]])
  test(`a slow subscriber is told exactly what it lost, in its place, and goes on (${filter === undefined ? 'everything' : 'with a filter'})`, async (t) => {
    const { hub, join } = setUp({}, { queueBytes: 512 * 1024 });
    t.after(() => hub.close(undefined));
    const { far, one } = join();
    hub.subscribe(one, {
      message: 'subscribe',
      ...(filter === undefined ? {} : { filter: filter.map((spec) => ({ negated: false, ...spec })) }),
    });
    await pause(20);
    far.reads = false;
    let published = 0;
    for (let round = 0; round < 6; round++) {
      // Every second record passes the filter.
      for (let i = 0; i < 30; i++) {
        hub.publish(
          numberedMany(100).map((record, k) => (k % 2 === 0 ? record : { ...record, destination: { ip: '192.0.2.9', port: 81 } })),
        );
        published += 100;
        await pause(2);
      }
      assert.ok(one.queuedBytes <= 512 * 1024);
      far.read();
      await pause(10);
    }
    far.reads = true;
    far.read();
    hub.publish(numberedMany(2));
    published += 2;
    const wanted = filter === undefined ? published : (published - 2) / 2 + 2;
    await until(() => far.rows + far.lost.reduce((sum, { count }) => sum + count, 0) >= wanted);
    const lost = far.lost.reduce((sum, { count }) => sum + count, 0);
    assert.ok(lost > 0 && far.rows > 0);
    assert.equal(far.rows + lost, wanted);
    assert.ok(far.lost.every(({ exact }) => exact));
    assert.deepEqual([one.sent, one.lost], [far.rows, lost]);
    // Each number is accounted for once, in order.
    let covered = 0;
    for (const message of far.messages)
      if (message.message === 'records' || message.message === 'lost') {
        assert.equal(message.seq, covered + 1);
        covered = message.last;
      }
  });

test('in a burst more waits than a queue holds, while others leave room; what was borrowed comes back', async (t) => {
  const pool = new QueuePool(1024 * 1024);
  const { hub, join } = setUp({}, { queueBytes: 64 * 1024, pool });
  t.after(() => hub.close(undefined));
  const [quick, greedy, late] = [join(), join(), join()];
  for (const { one } of [quick, greedy, late]) hub.subscribe(one, { message: 'subscribe' });
  await pause(20);
  const publish = async (records: number): Promise<void> => {
    for (let i = 0; i < records; i += 100) {
      hub.publish(numberedMany(100));
      await pause(2);
    }
  };
  // One falls behind: all of it waits.
  greedy.far.reads = false;
  await publish(600);
  assert.ok(greedy.one.queuedBytes > 64 * 1024 && pool.left < 1024 * 1024 && !greedy.one.drops, `${greedy.one.queuedBytes} bytes wait`);
  greedy.far.reads = true;
  greedy.far.read();
  await until(() => greedy.far.rows === 600 && quick.far.rows === 600);
  assert.deepEqual([greedy.one.lost, quick.one.lost, pool.left], [0, 0, 1024 * 1024]);
  // One takes all that is shared: the others have their own queue still, and nobody has more than there is.
  greedy.far.reads = false;
  while (!greedy.one.drops) await publish(100);
  late.far.reads = false;
  await publish(100);
  assert.ok(late.one.queuedBytes > 0 && !late.one.drops, `${late.one.queuedBytes} bytes wait`);
  assert.ok(greedy.one.queuedBytes + late.one.queuedBytes <= 2 * 64 * 1024 + 1024 * 1024);
  // Who goes leaves what it held.
  greedy.one.gone();
  assert.equal(pool.left, 1024 * 1024);
});

for (const [what, bytesPerSecond, closed] of [
  ['takes half of its queue in ten seconds', 60_000, false],
  ['takes less', 40_000, true],
] as const)
  test(`who loses records, and ${what}, is ${closed ? 'closed' : 'served on'}, however much of the shared room it holds`, () => {
    const pool = new QueuePool(4_000_000);
    const waiting: { length: number; done: () => void }[] = [];
    let nowMs = 0;
    let end: string | undefined;
    const connection: Connection = {
      send: (bytes, _options, done) => waiting.push({ length: bytes.length, done }),
      close: (_code, reason) => {
        end = reason;
      },
      terminate: () => {},
    };
    const clock = { timeText: () => '', clock: () => nowMs };
    const one = new Subscriber(connection, {
      id: 's',
      node: 'n',
      form: 'json',
      principal: 'p',
      queueBytes: 1_000_000,
      pool,
      stallMs: 10_000,
      ...clock,
    });
    const message = Outgoing.of({ message: 'error', code: 'x', text: 'y'.repeat(10_000) });
    while (!one.drops) one.offer(message);
    assert.ok(one.queuedBytes > 4_900_000);
    for (let taken = 0; nowMs < 60_000 && end === undefined; nowMs += 100) {
      one.checkStall();
      for (taken += bytesPerSecond / 10; waiting[0] !== undefined && taken >= waiting[0].length; ) {
        taken -= waiting[0].length;
        waiting.shift()!.done();
      }
    }
    assert.equal(end, closed ? 'slow' : undefined);
  });

test('who reads the past more slowly than the ring turns is told what went', async (t) => {
  const { hub, join } = setUp({ ringBytes: 2_000_000 });
  t.after(() => hub.close(undefined));
  for (let i = 0; i < 100; i++) {
    hub.publish(numberedMany(50));
    await pause(2);
  }
  const { far, one } = join();
  far.reads = false;
  hub.subscribe(one, { message: 'subscribe', last: 100_000 });
  await pause(50);
  const begun = hub.state().seq;
  for (let i = 0; i < 100; i++) {
    hub.publish(numberedMany(200));
    await pause(2);
  }
  far.reads = true;
  far.read();
  await until(() => far.messages.some((message) => message.message === 'status' && message.state === 'live'));
  let covered = (far.messages.find((message) => message.message === 'records') as { seq: number }).seq - 1;
  for (const message of far.messages)
    if (message.message === 'records' || message.message === 'lost') {
      assert.ok(message.seq <= covered + 1, `${message.seq} behind ${covered}`);
      covered = message.last;
    }
  assert.equal(covered, hub.state().seq);
  assert.ok(far.lost.length > 0 && begun > 0);
});

test('the bounds of the ring hold, in bytes and in batches', async (t) => {
  const { hub } = setUp({ ringBytes: 300_000, ringBatches: 20 });
  t.after(() => hub.close(undefined));
  for (let i = 0; i < 60; i++) {
    hub.publish(numberedMany(i % 3 === 0 ? 200 : 1));
    await pause(3);
    const { ringBytes, ringBatches, seq, oldest } = hub.state();
    assert.ok(ringBytes <= 300_000 && ringBatches <= 20 && oldest <= seq + 1);
  }
});

test('a record that nobody would take is not sent, and is told as lost', async (t) => {
  const { hub, join } = setUp();
  t.after(() => hub.close(undefined));
  const { far, one } = join();
  hub.subscribe(one, { message: 'subscribe' });
  await pause(10);
  hub.publish([{ ...finding, proof: ['x'.repeat(1_100_000)] }, numbered(), { ...finding, proof: ['y'.repeat(1_100_000)] }]);
  await until(() => far.rows === 3);
  const lost = far.messages.flatMap((message) => (message.message === 'records' && message.type === 'lost' ? message.rows : []));
  assert.deepEqual(
    lost.map((row) => [row[0], row[2], row[4]]),
    [
      ['stream_row', 1, 1],
      ['stream_row', 1, 2],
    ],
  );
  assert.equal(far.rows, 3);
});

test('filters that take too much of the time of the daemon are closed, and nothing else', async (t) => {
  const { hub, join } = setUp();
  t.after(() => hub.close(undefined));
  const [costly, cheap] = [join(), join()];
  const filter = Array.from({ length: bounds.patterns }, (_, i) => ({ name: 'http-path', value: `(${i}|[a-y]{1,200})*z`, negated: false }));
  const path = { ...requestPath, joins: [], latency: [], request: { path: `/${'a'.repeat(1500)}` } };
  hub.subscribe(costly.one, { message: 'subscribe', filter });
  hub.subscribe(cheap.one, { message: 'subscribe' });
  await pause(20);
  const end = performance.now() + 12_000;
  let n = 0;
  while (costly.far.closed === undefined && performance.now() < end) {
    const flow = flowOf({ id: (n++).toString(16).padStart(16, '0') });
    hub.publish([
      flow,
      { ...path, id: flow.id, first: flow.first, last: flow.last, legs: [{ flow: flow.id, roles: ['direct'], node: 'a', netns: 'b' }] },
    ]);
    await pause(5);
  }
  assert.deepEqual(costly.far.closed, [4429, 'too-expensive']);
  await until(() => costly.far.messages.at(-1)?.message === 'bye');
  assert.ok(costly.far.messages.some((message) => message.message === 'error' && /simpler ones are wanted/.test(message.text)));
  await until(() => cheap.far.rows === 2 * n);
});
