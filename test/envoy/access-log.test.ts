/**
 * What Envoy logged of each request and connection of the recorded meshes against what we say of it.
 *
 * Each entry gives the facts that packets would give: addresses, SNI, the request's head, the upstream leg. The chain, route, cluster and endpoint that the entry names are compared.
 * A chain or route that the entry prints as `-` has no name, or there is none: it is not compared.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { type ConnectionFacts, decideConnection } from '../../src/envoy/connection.ts';
import { decideRequest } from '../../src/envoy/request.ts';
import { settle } from '../../src/envoy/settle.ts';
import { decideTcp } from '../../src/envoy/tcp.ts';
import { parseEndpoint } from '../../src/net/address.ts';
import type { Decision } from '../../src/record/record.ts';
import { needsReference, referencePath } from '../reference.ts';
import { type LogEntry, type RecordedPod, readRecording } from './recordings.ts';

/** A connection older than its listener leaves chain and route open: one entry of these recordings is of that kind. Over all of them 98 % have to be named. */
const total = { right: 0, compared: 0 };

const fields = [
  ['chain', 'chain'],
  ['route', 'route'],
  ['cluster', 'cluster'],
  ['endpoint', 'upstream'],
] as const;

function factsOf(pod: RecordedPod, entry: LogEntry): ConnectionFacts {
  const local = parseEndpoint(entry.local!)!;
  const remote = parseEndpoint(entry.directRemote!)!;
  const own = pod.history.configs[0]!.listeners;
  const isGateway = !own.some((listener) => listener.name === 'virtualInbound');
  const inbound = pod.addresses.includes(local.ip) && (!pod.addresses.includes(remote.ip) || entry.upstreamLocal!.startsWith('127.0.0.6:'));
  const isHttp = entry.protocol!.startsWith('HTTP/');
  const first = pod.entries.filter((other) => other.connection === entry.connection).map((other) => Date.parse(other.at!));
  const sni = entry.sni!;
  const transport = sni !== '-' ? 'tls' : isHttp ? 'raw_buffer' : 'unknown';
  return {
    atMs: Math.min(...first),
    midstream: !pod.begun.has(`${entry.directRemote} > ${entry.local}`),
    listener: isGateway ? local : { port: inbound ? 15006 : 15001 },
    destination: local,
    source: remote,
    transport,
    ...(sni === '-' ? {} : { serverName: sni }),
    ...(transport === 'tls' && inbound
      ? { alpn: isHttp ? ['istio-http/1.1', 'istio', 'http/1.1'] : ['istio-peer-exchange', 'istio'] }
      : {}),
    http: transport === 'tls' ? 'unknown' : entry.protocol === 'HTTP/1.1' ? 'http/1.1' : entry.protocol === 'HTTP/2' ? 'h2c' : 'none',
  };
}

function decide(pod: RecordedPod, entry: LogEntry): Decision {
  const connection = decideConnection(pod.history, factsOf(pod, entry));
  const isHttp = entry.protocol!.startsWith('HTTP/');
  const routed = isHttp
    ? decideRequest(connection, {
        atMs: Date.parse(entry.at!),
        method: entry.method!,
        authority: entry.authority!,
        path: entry.path!,
        headers: [],
        headersComplete: false,
      })
    : decideTcp(connection);
  const upstream = parseEndpoint(entry.upstream!);
  return settle(routed, {
    ...(upstream === undefined ? { noUpstream: true } : { upstream }),
    ...(isHttp ? { responseStatus: Number(entry.code) } : {}),
  }).decision;
}

for (const name of ['bookinfo', 'failures', 'routing'])
  test(
    `${name}: chain, route, cluster and endpoint are what Envoy logged, none wrong, 98 % of the clusters named`,
    needsReference('bundles', name),
    (t) => {
      const counts = { right: 0, wrong: 0, unnamed: 0 };
      const clusters = { right: 0, compared: 0 };
      const wrong: string[] = [];
      let entries = 0;
      for (const pod of readRecording(referencePath('bundles', name)!))
        for (const entry of pod.entries) {
          entries++;
          const said = decide(pod, entry);
          for (const [field, logged] of fields) {
            const truth = entry[logged]!;
            if (truth === '-') continue;
            const grade = said.evidence[field];
            if (field === 'cluster') clusters.compared++;
            if (said[field] === undefined || grade === 'ambiguous' || grade === 'unavailable') {
              counts.unnamed++;
              t.diagnostic(
                `unnamed: ${pod.name} ${field} ${truth}: ${said.reason ?? 'no reason'}, ${JSON.stringify(said.candidates ?? {})} ${entry.path}`,
              );
            } else if (said[field] === truth) {
              counts.right++;
              if (field === 'cluster') clusters.right++;
            } else {
              counts.wrong++;
              wrong.push(`${pod.name} ${entry.directRemote} > ${entry.local} ${entry.path}: ${field} is ${truth}, we say ${said[field]}`);
            }
          }
        }
      const compared = counts.right + counts.wrong + counts.unnamed;
      t.diagnostic(
        `${name}: ${entries} entries, ${compared} names compared: ${counts.right} right, ${counts.wrong} wrong, ${counts.unnamed} not named`,
      );
      assert.ok(entries > 0 && compared > entries);
      assert.deepEqual(wrong, []);
      assert.ok(clusters.right / clusters.compared >= 0.98, `${clusters.right} of ${clusters.compared} clusters named`);
      total.right += counts.right;
      total.compared += compared;
    },
  );

test('over all recordings 98 % of the names are given', needsReference('bundles'), (t) => {
  t.diagnostic(`${total.right} of ${total.compared}`);
  assert.ok(total.right / total.compared >= 0.98, `${total.right} of ${total.compared} named`);
});

test('there are recordings to compare with', needsReference('bundles'), () => {
  assert.ok(readdirSync(referencePath('bundles')!).length >= 3);
});
