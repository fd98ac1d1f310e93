import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeInterfaces, tellsOfRoutingRules } from '../../src/world/interfaces-netlink.ts';

function message(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  return Buffer.concat([header, body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
}

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

function link(index: number, name: string): Buffer {
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  return message(16, Buffer.concat([body, attribute(3, Buffer.from(`${name}\0`))]));
}

function address(index: number, ...attributes: Buffer[]): Buffer {
  const body = Buffer.alloc(8);
  body[0] = 2;
  body.writeUInt32LE(index, 4);
  return message(20, Buffer.concat([body, ...attributes]));
}

const v4 = (text: string) => Buffer.from(text.split('.').map(Number));
const parts = [
  link(2, 'eth0'),
  link(1, 'lo'),
  message(3, Buffer.alloc(4)),
  address(1, attribute(1, v4('127.0.0.1'))),
  // A point-to-point link: IFA_ADDRESS is the other end.
  address(2, attribute(1, v4('10.0.0.2')), attribute(2, v4('10.0.0.1'))),
  address(2, attribute(1, Buffer.from('fd000000000000000000000000000001', 'hex'))),
  address(9, attribute(1, v4('10.9.9.9'))),
];

test('interfaces come by index with their own addresses, whatever the order and the cuts of the dumps', () => {
  const wanted = [
    { index: 1, name: 'lo', addresses: ['127.0.0.1'] },
    { index: 2, name: 'eth0', addresses: ['10.0.0.1', 'fd00::1'] },
  ];
  assert.deepEqual(decodeInterfaces([Buffer.concat(parts)]), wanted);
  assert.deepEqual(decodeInterfaces(parts), wanted);
});

test('cut anywhere or mutated, dumps of links give interfaces or none', () => {
  const dump = Buffer.concat(parts);
  for (let length = 0; length < dump.length; length++) assert.ok(decodeInterfaces([dump.subarray(0, length)]).length <= 2);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(dump.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
      const bytes = Buffer.from(dump);
      for (const [at, value] of changes) bytes[at] = value;
      for (const { name } of decodeInterfaces([bytes])) assert.ok(name.length <= 15);
      tellsOfRoutingRules(bytes);
    }),
    { seed: 12, numRuns: 5000 },
  );
});

test('only a message of a routing rule tells of routing rules', () => {
  assert.equal(tellsOfRoutingRules(Buffer.concat(parts)), false);
  assert.equal(tellsOfRoutingRules(Buffer.concat([...parts, message(33, Buffer.alloc(12))])), true);
});
