/** Flows that are written straight from their slots say the same, byte by byte, as the records that could be made of them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { LINKTYPE_ETHERNET } from '../../src/decode/link-type.ts';
import { formatV4, formatV6 } from '../../src/net/address.ts';
import { formatTime } from '../../src/net/time.ts';
import { JsonSink } from '../../src/output/json.ts';
import { MsgpackSink } from '../../src/output/msgpack.ts';
import { TimeBytes, writeHex, writeInteger, writeMilliseconds, writeV4, writeV6 } from '../../src/output/plain-bytes.ts';
import { StringWriter } from '../../src/output/writer.ts';
import { replay } from '../../src/pipeline.ts';
import { capture, makeFrames, random } from '../flow/random-capture.ts';
import { needsReference, referencePath } from '../reference.ts';

interface Written {
  readonly bytes: Buffer;
  readonly plain: number;
}

function write(path: string, Sink: typeof JsonSink | typeof MsgpackSink, plainly: boolean): Written {
  const writer = new StringWriter();
  const sink = new Sink(writer);
  let plain = 0;
  const run = replay(
    { captures: [path], files: [], redact: true },
    (record) => sink.write(record),
    plainly
      ? (flow) => {
          plain++;
          sink.writePlain(flow);
        }
      : undefined,
  );
  while (run.next().done !== true);
  sink.end();
  return { bytes: writer.content, plain };
}

/** @returns how many flows went the short way */
function agree(path: string): number {
  let plain = 0;
  for (const Sink of [JsonSink, MsgpackSink]) {
    const short = write(path, Sink, true);
    assert.ok(short.bytes.equals(write(path, Sink, false).bytes), `${path}: ${Sink.name}`);
    plain = short.plain;
  }
  return plain;
}

test('a random capture', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plain-'));
  try {
    const next = random(42);
    const path = join(folder, 'random.pcap');
    writeFileSync(path, capture(LINKTYPE_ETHERNET, makeFrames(LINKTYPE_ETHERNET, 30_000, next), next));
    assert.ok(agree(path) > 1000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function* captures(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* captures(path);
    else if (/\.pcap(ng)?$/.test(entry.name) && statSync(path).size < 2_000_000) yield path;
  }
}

test('the reference captures', needsReference('captures'), () => {
  let plain = 0;
  for (const path of captures(referencePath('captures')!)) plain += agree(path);
  assert.ok(plain > 100);
});

const at = 5;

function written(write: (view: DataView, at: number) => number): string {
  const bytes = Buffer.alloc(80);
  const end = write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), at);
  return bytes.toString('latin1', at, end);
}

test('addresses and times as text has them', () => {
  const word = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, 1, 0xffff, 0x10000, -1));
  fc.assert(
    fc.property(word, word, word, word, (a, b, c, d) => {
      assert.equal(
        written((view, from) => writeV6(view, from, Int32Array.of(a, b, c, d), 0)),
        formatV6(a, b, c, d),
      );
      assert.equal(
        written((view, from) => writeV4(view, from, a)),
        formatV4(a),
      );
      assert.equal(
        written((view, from) => writeHex(view, from, a)),
        (a >>> 0).toString(16).padStart(8, '0'),
      );
    }),
    { seed: 1, numRuns: 3000 },
  );
  const base = { epochSeconds: 1_700_000_000 };
  const times = new TimeBytes(base);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.integer({ min: -1e12, max: 1e12 }),
        fc.double({ min: -1e18, max: 1e18, noNaN: true }),
        fc.constantFrom(999_999_999.7, -0.2),
      ),
      (ns) => {
        assert.equal(
          written((view, from) => times.write(view, from, ns)),
          formatTime(base, ns),
        );
      },
    ),
    { seed: 1, numRuns: 3000 },
  );
});

test('numbers as JavaScript has them', () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat(), fc.maxSafeNat(), fc.nat(2000), fc.constantFrom(999, 1000, 999_999, 1e6, 1e9, 1e9 - 1, 2 ** 32)), (n) => {
      assert.equal(
        written((view, from) => writeInteger(view, from, n)),
        String(n),
      );
      const ms = Math.round((n % 1e10) * 1.3) / 1000;
      assert.equal(
        written((view, from) => writeMilliseconds(view, from, ms)),
        String(ms),
      );
    }),
    { seed: 1, numRuns: 5000 },
  );
});
