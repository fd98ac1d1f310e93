import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConntrack } from '../../src/netfilter/conntrack.ts';
import { asEvent, decodeConntrackBuffer, decodeConntrackMessage } from '../../src/netfilter/conntrack-netlink.ts';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

/** A redirected connection, as Linux 6.18 announced it and as it stood in a dump later. */
const created = bytes(
  'd0000000000100060000000000000000020000003400018014000180080001000af4010a080002000af401141c000280050001000600000006000200ab6c0000' +
    '06000300237800003400028014000180080001007f000001080002000af4010a1c0002800500010006000000060002003a99000006000300ab6c000008000c00' +
    '783873a808000300000001a80800070000000078300004802c0001800500010001000000050002000a0000000500030000000000060004000300000006000500' +
    '000000000c001b0018ea6adb8453e50c',
);
const dumped = bytes(
  '1c01000000012200010000001a7e0000020000003400018014000180080001000af4010a080002000af401141c000280050001000600000006000200ab6c0000' +
    '06000300237800003400028014000180080001007f000001080002000af4010a1c0002800500010006000000060002003a99000006000300ab6c000008000300' +
    '000001ae080008000000000008000c00783873a808000b00000000010800070000000075300004802c0001800500010007000000050002000a00000005000300' +
    '0a000000060004002300000006000500270000001c0009800c00010000000000000000050c00020000000000000001271c000a800c0001000000000000000005' +
    '0c0002000000000000000182100014800c00010018ea6adb84550b00',
);

test('decodeConntrackMessage() reads the event of a new redirected connection', () => {
  const message = decodeConntrackMessage(created);
  assert.equal(message?.type, 'NEW');
  assert.deepEqual(message?.entry, {
    family: 4,
    protocol: 'tcp',
    state: 'SYN_SENT',
    original: { source: { ip: '10.244.1.10', port: 43884 }, destination: { ip: '10.244.1.20', port: 9080 } },
    reply: { source: { ip: '127.0.0.1', port: 15001 }, destination: { ip: '10.244.1.10', port: 43884 } },
    id: 0x783873a8,
    unreplied: true,
    assured: false,
    timeout: 120,
  });
  assert.deepEqual(asEvent(message!)?.at, {
    seconds: Number(0x18ea6adb8453e50cn / 1_000_000_000n),
    nanoseconds: Number(0x18ea6adb8453e50cn % 1_000_000_000n),
  });
});

test('an entry that a program removed has ended, though the event carries the port of that program', () => {
  const removed = Uint8Array.from(created);
  removed[4] = 2;
  removed.set([1, 2, 0, 0], 12);
  assert.equal(decodeConntrackMessage(removed)?.type, 'DESTROY');
});

test('an entry of a dump has counters and is no event', () => {
  const message = decodeConntrackMessage(dumped);
  if (message === undefined) return assert.fail('the dump entry must be read');
  assert.equal(message.type, undefined);
  assert.equal(message.entry.state, 'TIME_WAIT');
  assert.equal(message.entry.assured, true);
  assert.equal(message.entry.unreplied, false);
  assert.equal(message.entry.mark, 0);
  assert.equal(message.entry.original.packets, 5);
  assert.equal(message.entry.original.bytes, 295);
  assert.equal(message.entry.reply.bytes, 386);
});

test('netlink and text give the same tuples', () => {
  const line =
    'ipv4     2 tcp      6 119 TIME_WAIT src=10.244.1.10 dst=10.244.1.20 sport=43884 dport=9080 src=127.0.0.1 dst=10.244.1.10 sport=15001 dport=43884 [ASSURED] mark=0 use=1 id=2016965544';
  const text = parseConntrack(line).entries[0]!;
  const netlink = decodeConntrackMessage(created)!.entry;
  assert.deepEqual(netlink.original, text.original);
  assert.deepEqual(netlink.reply, text.reply);
  assert.equal(netlink.id, text.id);
});

test('a cut message gives nothing, and never a wrong tuple', () => {
  const whole = decodeConntrackMessage(created)!.entry;
  for (let length = 0; length < created.length; length++) assert.equal(decodeConntrackMessage(created.slice(0, length)), undefined);
  for (let length = 20; length < created.length; length++) {
    const lying = created.slice(0, length);
    new DataView(lying.buffer).setUint32(0, length, true);
    const message = decodeConntrackMessage(lying);
    if (message === undefined) continue;
    assert.deepEqual(message.entry.original, whole.original);
    assert.deepEqual(message.entry.reply, whole.reply);
  }
});

test('a buffer of several messages is read to the first length that does not hold', () => {
  const buffer = new Uint8Array(created.length * 2 + 10);
  buffer.set(created, 0);
  buffer.set(created, created.length);
  buffer.set([0xff, 0xff, 0xff, 0x7f], created.length * 2);
  const { messages, skipped } = decodeConntrackBuffer(buffer);
  assert.equal(messages.length, 2);
  assert.equal(skipped, 0);
});

test('random bytes are never a crash, and the next good message is still read', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(199), fc.nat(255), (noise, at, value) => {
      decodeConntrackBuffer(noise);
      const spoiled = created.slice();
      spoiled[at] = value;
      decodeConntrackMessage(spoiled);
      assert.equal(decodeConntrackMessage(created)?.entry.protocol, 'tcp');
    }),
    { seed: 1, numRuns: 2000 },
  );
});
