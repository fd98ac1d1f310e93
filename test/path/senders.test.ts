/** Requests that come in encrypted from several clients' proxies which were recorded too: each came from where it was asked for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { encryptedTalk } from './encrypted-talk.ts';

const SHOP = '10.0.0.10';
const VIP = '10.96.0.20';

const ask = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: shop\r\n\r\n`;
const ANSWER = 'HTTP/1.1 200 Fine\r\ncontent-length: 2\r\nx-envoy-upstream-service-time: 3\r\n\r\nok';

const encrypted = encryptedTalk(['istio', 'h2']);

/** @param paths what each client asks for, at the same time; `undefined`: that client was not recorded; `direct`: it has no proxy */
function inboundJoins(paths: readonly (string | undefined)[], served: readonly string[]): string[] {
  const shop = new MadeNamespace('default/shop', SHOP).file('iptables-save', sidecarRules());
  const clients = paths.flatMap((path, i) => {
    const own = `10.0.0.2${i}`;
    const leg = { at: 1.001, from: `${own}:4100${i}`, isn: 3000 + i, talk: encrypted };
    shop.tcp({ ...leg, to: `${SHOP}:80`, incoming: true });
    if (path === undefined) return [];
    const client = new MadeNamespace(`default/client-${i}`, own);
    if (path === 'direct')
      return [
        client
          .file('iptables-save', '')
          .file('nft', '{"nftables": []}')
          .tcp({ ...leg, to: `${SHOP}:80` }),
      ];
    client.file('iptables-save', sidecarRules());
    const talk: Talk = [['C', ask(path)], 0.1, ['S', ANSWER], '.C', '.S'];
    client.tcp({ at: 1, from: `${own}:4000${i}`, to: `${VIP}:80`, redirected: '127.0.0.1:15001', on: 'lo', isn: 1000 + i, talk });
    return [client.tcp({ ...leg, to: `${SHOP}:80` })];
  });
  for (const [i, path] of served.entries())
    shop.tcp({
      at: 1.02,
      from: `127.0.0.6:5000${i}`,
      to: `${SHOP}:80`,
      on: 'lo',
      isn: 5000 + i,
      talk: [['C', ask(path)], 0.03, ['S', ANSWER], '.C', '.S'],
    });
  const records = recordsOf(makeRecording([...clients, shop]));
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  return records
    .filter((record): record is PathRecord => record.type === 'path' && record.request !== undefined)
    .flatMap(({ legs, joins, request }) =>
      joins.flatMap(({ from, to, evidence }) => {
        const port = (leg: number) => flows.get(legs[leg]!.flow)!.source.port;
        return port(to)! >= 50_000 ? [`${request?.path} ${from === to ? '?' : port(from)} > ${port(to)} ${evidence}`] : [];
      }),
    )
    .sort();
}

test('clients that asked for different things', () => {
  assert.deepEqual(inboundJoins(['/a', '/b'], ['/a', '/b']), ['/a 41000 > 50000 derived', '/b 41001 > 50001 derived']);
});

test('clients that asked for the same, and clients of whom nothing is known, are not told apart', () => {
  assert.deepEqual(inboundJoins(['/a', '/a'], ['/a', '/a']), ['/a ? > 50000 ambiguous', '/a ? > 50001 ambiguous']);
  assert.deepEqual(inboundJoins(['/a', undefined], ['/b', '/b']), ['/b ? > 50000 ambiguous', '/b ? > 50001 ambiguous']);
});

test('a client without a proxy asks by itself', () => {
  assert.deepEqual(inboundJoins(['/a', 'direct'], ['/a', '/b']), ['/a ? > 50000 ambiguous', '/b ? > 50001 ambiguous']);
});

test('what nobody asked for may have come from any of them: proxies ask for things of their own', () => {
  assert.deepEqual(inboundJoins(['/a', '/a'], ['/health']), ['/health ? > 50000 ambiguous']);
});
