import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { flowComment, NameTable, type PacketBatch, type PacketInput, writePcapng } from '../../src/output/pcapng.ts';
import { splitNanoseconds } from '../../src/output/pcapng-blocks.ts';
import { StringWriter } from '../../src/output/writer.ts';
import { requestFlows } from './samples.ts';

/** Two raw IPv4 UDP packets, 10.244.1.12 > 10.244.2.14, on two interfaces, a nanosecond apart. */
function twoPackets(): PacketInput {
  const packet = Buffer.from('4500001d000040004011000a0af4010c0af4020e14e9238200090000ff', 'hex');
  const bytes = Buffer.concat([packet, packet]);
  const batch: PacketBatch = {
    bytes,
    count: 2,
    offset: Int32Array.of(0, packet.length),
    capturedLength: Int32Array.of(packet.length, packet.length),
    wireLength: Int32Array.of(packet.length, 70_000),
    timeNs: Float64Array.of(999_999_999, 1_000_000_000),
    interfaceId: Int32Array.of(0, 1),
  };
  let left: PacketBatch | undefined = batch;
  return {
    base: { epochSeconds: 1_795_000_000 },
    interfaces: [
      { name: 'eth0', linkType: 101, snapLength: 0 },
      { linkType: 101, snapLength: 128 },
    ],
    next: () => {
      const now = left;
      left = undefined;
      return now;
    },
  };
}

function wireshark(tool: string): boolean {
  try {
    execFileSync(tool, ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const needsTshark = {
  skip: wireshark('tshark') && wireshark('capinfos') ? false : 'SKIPPED: tshark and capinfos are absent (apt-get install tshark)',
};

test('tshark and capinfos read -o pcapng: packets, times, comments, interface names, resolved names', needsTshark, () => {
  const names = new NameTable();
  for (const flow of requestFlows) names.add(flow);
  const writer = new StringWriter();
  const count = writePcapng(twoPackets(), writer, {
    application: 'sidetrace test',
    names: names.names,
    verdictOf: (_batch, i) => (i === 0 ? flowComment(requestFlows[0]!) : undefined),
    interfaceName: (id) => `any-${id}`,
  });
  assert.equal(count, 2);
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-pcapng-'));
  try {
    const file = join(folder, 'out.pcapng');
    writeFileSync(file, writer.content);
    const fields = [
      'frame.time_epoch',
      'frame.len',
      'frame.cap_len',
      'frame.interface_name',
      'ip.src_host',
      'ip.dst_host',
      'frame.comment',
    ];
    const out = execFileSync('tshark', ['-r', file, '-N', 'nd', '-T', 'fields', ...fields.flatMap((field) => ['-e', field])], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [first, second] = out.split('\n').map((line) => line.split('\t'));
    assert.deepEqual(first!.slice(0, 4), ['1795000000.999999999', '29', '29', 'eth0']);
    assert.deepEqual(second!.slice(0, 4), ['1795000001.000000000', '70000', '29', 'any-1']);
    assert.deepEqual(first!.slice(4, 6), ['client.default', 'productpage-v1-574c45789d-xg4k8.default']);
    assert.equal(first![6], flowComment(requestFlows[0]!));
    assert.match(
      first![6]!,
      /app → proxy; rule REDIRECT 15001 by ISTIO_REDIRECT\/1 \(observed\); listener 0\.0\.0\.0_9080, chain \(nameless\), route default/,
    );
    assert.match(execFileSync('capinfos', [file], { encoding: 'utf8' }), /Number of packets: +2[\s\S]*Capture application: sidetrace test/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('splitNanoseconds() is exact beyond 2^53', () => {
  for (const [seconds, nanoseconds] of [
    [0, 0],
    [1_795_000_000, 999_999_999],
    [4_294_967_295, 1],
    [18_446_744_073, 709_551_615],
  ] as const) {
    const { high, low } = splitNanoseconds(seconds, nanoseconds);
    assert.equal((BigInt(high) << 32n) | BigInt(low), BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
  }
});
