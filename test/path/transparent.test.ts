import assert from 'node:assert/strict';
import test from 'node:test';
import type { Subject } from '../../src/annotate/subject.ts';
import { mayGoOnTo } from '../../src/path/to-application.ts';

const POD = '10.244.2.15';

/** A connection of the pod, with what the rule looks at. */
function connection(from: string, on: 'eth0' | 'lo', port = 7000): Subject {
  const world = { addresses: new Set([POD]), envoy: undefined };
  const place = { onLoopback: on === 'lo', sourceIsOurs: from === POD, destinationIsOurs: true };
  const translation = { source: { ip: from, port: 40_000 }, destination: { ip: POD, port } };
  return { world, place, translation } as unknown as Subject;
}

// Recorded: two clients of one pod in TPROXY mode, whose requests went on at the same time. Each connection to the application bore the address of its client (4848 of 4848 in Envoy's log).
test('in TPROXY mode the proxy goes on from the address of the client, so only that client comes into question', () => {
  const one = connection('10.244.1.17', 'eth0');
  const other = connection('10.244.2.14', 'eth0');
  assert.equal(mayGoOnTo(one, connection('10.244.1.17', 'lo')), true);
  assert.equal(mayGoOnTo(other, connection('10.244.1.17', 'lo')), false);
  assert.equal(mayGoOnTo(one, connection('10.244.1.17', 'lo', 7001)), false);
});

test('from its own address, or the one that Istio binds for it, it goes on for everybody', () => {
  for (const from of ['127.0.0.6', POD]) assert.equal(mayGoOnTo(connection('10.244.1.17', 'eth0'), connection(from, 'lo')), true);
});
