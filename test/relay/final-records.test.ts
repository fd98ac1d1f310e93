/** What people read of a stream: each thing once, a path behind its flows, nothing for ever held back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FilterSet } from '../../src/output/filter/filter-set.ts';
import { filters } from '../../src/output/filter/filters.ts';
import type { Sink } from '../../src/output/sink.ts';
import type { AnyRecord, FlowRecord, PathRecord } from '../../src/record/record.ts';
import { type FinalOptions, FinalRecords } from '../../src/relay/final-records.ts';
import { flowOf } from '../output/samples.ts';

class Seen implements Sink {
  readonly lines: string[] = [];
  write(record: AnyRecord): void {
    this.lines.push(`${record.type} ${'id' in record ? record.id : ''} ${'event' in record ? record.event : ''}`.trim());
  }
  context(flow: FlowRecord): void {
    this.lines.push(`context ${flow.id} ${flow.paths?.join() ?? ''}`.trim());
  }
  end(): void {}
  take(): string[] {
    return this.lines.splice(0);
  }
}

function stage(options: FinalOptions): { readonly seen: Seen; readonly final: FinalRecords } {
  const seen = new Seen();
  return { seen, final: new FinalRecords(seen, options) };
}

const flow = (id: string, more: Partial<FlowRecord> = {}): FlowRecord => flowOf({ id, ...more });
const path = (id: string, flows: readonly string[], more: Partial<PathRecord> = {}): PathRecord => ({
  type: 'path',
  id,
  event: 'close',
  of: 'request',
  first: '2026-11-23T06:22:45.519000000Z',
  last: '2026-11-23T06:22:45.540000000Z',
  complete: true,
  legs: flows.map((one) => ({ flow: one, roles: ['direct'], node: 'a', netns: 'n' })),
  joins: [],
  ...more,
});

test('a path is shown when its flows are there, each as its context, and once', () => {
  const { seen, final } = stage({ layout: 'blocks' });
  final.write(path('p', ['f', 'g'], { event: 'close' }), 0);
  final.write(flow('f', { event: 'open' }), 10);
  assert.deepEqual(seen.take(), []);
  final.write(flow('g', { event: 'close' }), 20);
  assert.deepEqual(seen.take(), ['context f p', 'context g p', 'path p close']);
  final.write(path('p', ['f', 'g'], { event: 'update', parent: 'q' }), 30);
  final.write(flow('f', { event: 'close', paths: ['p'] }), 40);
  final.tick(60_000);
  assert.deepEqual(seen.take(), []);
});

test('a path whose flows do not come is shown without them after a while', () => {
  const { seen, final } = stage({ layout: 'blocks' });
  final.write(path('p', ['f'], { event: 'close' }), 0);
  final.tick(1_400);
  assert.deepEqual(seen.take(), []);
  final.tick(1_500);
  assert.deepEqual(seen.take(), ['path p close']);
});

test('a path that lasts is shown while it does, and again at its end', () => {
  const { seen, final } = stage({ layout: 'blocks' });
  final.write(flow('f', { event: 'open' }), 0);
  final.write(path('p', ['f'], { event: 'open' }), 10);
  assert.deepEqual(seen.take(), ['context f p', 'path p close']);
  final.write(path('p', ['f'], { event: 'close' }), 90_000);
  assert.deepEqual(seen.take(), ['context f p', 'path p close']);
});

test('a flow without a path is shown after it ended, or after a while when it lasts, and then at its end', () => {
  const { seen, final } = stage({ layout: 'blocks' });
  final.write(flow('short', { event: 'close' }), 0);
  final.write(flow('long', { event: 'open', state: 'open' }), 0);
  final.tick(2_900);
  assert.deepEqual(seen.take(), []);
  final.tick(3_000);
  assert.deepEqual(seen.take(), ['flow short close']);
  final.tick(5_000);
  assert.deepEqual(seen.take(), ['flow long open']);
  final.write(flow('long', { event: 'update', state: 'open' }), 15_000);
  final.tick(30_000);
  assert.deepEqual(seen.take(), []);
  final.write(flow('long', { event: 'close', state: 'closed' }), 60_000);
  final.tick(63_000);
  assert.deepEqual(seen.take(), ['flow long close']);
});

test('at the end everything is shown', () => {
  const { seen, final } = stage({ layout: 'blocks' });
  final.write(flow('f', { event: 'open' }), 0);
  final.write(path('p', ['g'], { event: 'close' }), 0);
  final.end();
  assert.deepEqual(seen.take(), ['path p close', 'flow f open']);
});

test('lines of events: a flow when it is known and when it ended, whatever is told in between', () => {
  const { seen, final } = stage({ layout: 'events' });
  final.write(flow('f', { event: 'open', state: 'open' }), 0);
  final.write(flow('f', { event: 'update', state: 'open' }), 10_000);
  final.write(flow('f', { event: 'close', state: 'closed' }), 20_000);
  final.tick(60_000);
  assert.deepEqual(seen.take(), ['flow f open', 'flow f close']);
});

test('records pass as they come, but nothing of a path behind its end where they are counted', () => {
  for (const layout of ['records', 'counts'] as const) {
    const { seen, final } = stage({ layout });
    final.write(path('p', ['f'], { event: 'open' }), 0);
    final.write(path('p', ['f'], { event: 'close' }), 0);
    final.write(path('p', ['f'], { event: 'update', parent: 'q' }), 0);
    assert.deepEqual(seen.take(), ['path p open', 'path p close', ...(layout === 'records' ? ['path p update'] : [])]);
  }
});

function filtered(name: string, value: string, negated = false): FilterSet {
  const set = new FilterSet();
  set.add(filters.find((filter) => filter.name === name)!, value, negated);
  return set;
}

test('a filter on requests lets the flows of a path that passes through with it, and no others', () => {
  const { seen, final } = stage({ layout: 'records', filters: filtered('http-status', '5+') });
  final.write(flow('f', { event: 'open' }), 0);
  final.write(flow('g', { event: 'open' }), 0);
  final.write(path('good', ['g'], { event: 'close', request: { status: 200 } }), 10);
  final.write(path('bad', ['f'], { event: 'close', request: { status: 503 } }), 20);
  assert.deepEqual(seen.take(), ['flow f open', 'path bad close']);
  final.tick(60_000);
  assert.deepEqual(seen.take(), []);
});

test('a filter on flows lets a path pass with one of its flows, and what was lost always', () => {
  const { seen, final } = stage({ layout: 'blocks', filters: filtered('port', '8080') });
  final.write(flow('f', { event: 'close', destination: { ip: '10.0.0.2', port: 8080 } }), 0);
  final.write(flow('g', { event: 'close', destination: { ip: '10.0.0.2', port: 9090 } }), 0);
  final.write(path('p', ['g', 'f'], { event: 'close' }), 10);
  final.write(path('q', ['g'], { event: 'close' }), 20);
  final.write({ type: 'lost', source: 'kernel', scope: { node: 'a' }, count: 1, exact: true, total: 1, first: '', last: '' }, 30);
  assert.deepEqual(seen.take(), ['context g p', 'context f p', 'path p close', 'lost']);
  final.tick(60_000);
  assert.deepEqual(seen.take(), []);
});

test('two hundred thousand flows and paths leave a bounded memory behind', () => {
  const { final } = stage({ layout: 'blocks' });
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 200_000; i++) {
    final.write(flow(`f${i}`, { event: 'open' }), i / 1000);
    final.write(path(`p${i}`, [`missing${i}`], { event: 'close' }), i / 1000);
  }
  assert.ok(process.memoryUsage().heapUsed - before < 600e6);
});
