import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnyRecord } from '../../src/record/record.ts';
import { printed } from '../output/sample-options.ts';
import { everything, total } from '../output/samples.ts';
import { gather, isLive, running } from './live.ts';

const lines = (records: readonly AnyRecord[]): string[] => printed('json', records).trimEnd().split('\n').sort();

for (const form of ['msgpack', 'json'] as const)
  test(`records of every type arrive over ${form} as -o json prints them`, async (t) => {
    const { server, path } = await running(t);
    const live = gather(t, path, {}, { form });
    await live.until(isLive);
    server.publish(everything);
    await live.until(({ records }) => records.length === everything.length);
    // Within a moment flows come first, then paths, then findings; losses and totals keep their place.
    assert.deepEqual(lines(live.records), lines(everything));
    const past = gather(t, path, { follow: false }, { form });
    await past.end;
    assert.deepEqual(past.records, live.records);
    await server.close(total);
    await live.until(({ events }) => events.some((event) => event.type === 'bye'));
    const bye = live.events.find((event) => event.type === 'bye');
    assert.deepEqual(bye, { type: 'bye', reason: 'shutdown', totals: total });
  });
