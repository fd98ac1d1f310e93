import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame } from '../../src/decode/decode.ts';
import * as layers from '../../src/decode/layer.ts';
import { linkTypeName, linkTypeProblem } from '../../src/decode/link-type.ts';
import { layerNames, Packet, stopCauseNames } from '../../src/decode/packet.ts';

test('linkTypeProblem() is undefined for exactly the link types that decodeFrame() reads', () => {
  const packet = new Packet();
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  for (let linkType = 0; linkType < 400; linkType++) {
    decodeFrame(packet, linkType, bytes, view, 0, 64, 64, 0);
    const read = layerNames[packet.stopLayer] !== 'link';
    assert.equal(linkTypeProblem(linkType) === undefined, read, `link type ${linkType}`);
  }
});

test('linkTypeProblem() names the act, the value, the wish and the state', () => {
  assert.equal(
    linkTypeProblem(105),
    'Cannot decode frames of link type "IEEE802_11" (105): record the pod interface or "any", since IEEE 802.11 frames are not read; their packets are counted and nothing more',
  );
  assert.match(linkTypeProblem(9999)!, /link type "LINKTYPE_9999" \(9999\): one of NULL, EN10MB, .*LINUX_SLL2 is needed/);
});

test('linkTypeName() gives the names of the list of link types', () => {
  assert.deepEqual([1, 113, 276, 101, 12, 253, 4711].map(linkTypeName), [
    'EN10MB',
    'LINUX_SLL',
    'LINUX_SLL2',
    'RAW',
    'RAW',
    'NETLINK',
    'LINKTYPE_4711',
  ]);
});

test('the numbers of layer.ts are the places in layerNames and stopCauseNames', () => {
  const name = (constant: string) =>
    constant
      .replace(/^(LAYER|STOP)_/, '')
      .toLowerCase()
      .replaceAll('_', '-');
  const entries = Object.entries(layers).flatMap(([key, value]) => (typeof value === 'number' ? [[key, value] as const] : []));
  const numbered = (prefix: string) => entries.filter(([key]) => key.startsWith(prefix)).sort((a, b) => a[1] - b[1]);
  assert.deepEqual(
    numbered('LAYER_').map(([key, n]) => [n, name(key)]),
    layerNames.map((layer, n) => [n, layer]),
  );
  assert.deepEqual(
    numbered('STOP_').map(([key, n]) => [n, name(key)]),
    stopCauseNames.slice(1).map((cause, n) => [n + 1, cause]),
  );
});
