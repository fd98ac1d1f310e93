/** Bundles that are cut, that lie, or that name what is not there: what is there is shown, the rest is told. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, text, udp } from '../decode/frames.ts';
import { writePcap } from '../source/write-pcap.ts';
import { type TarMember, writeTar } from '../source/write-tar.ts';
import { file, full, lossesOf, place, recordsOf, runHostile, sized } from './spawn.ts';

const packets = writePcap({
  records: Array.from({ length: 3 }, (_, i) => ({
    seconds: 1_790_000_000 + i,
    fraction: 0,
    data: Uint8Array.from(
      ethernet(ETHERTYPE.ipv4, ipv4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: PROTOCOL.udp }, udp(1000 + i, 53, text('x')))),
    ),
  })),
});

interface FileEntry {
  readonly kind: string;
  readonly status?: string;
  readonly file?: string;
  readonly readAt?: string;
  readonly family?: string;
}

const manifest = (files: readonly FileEntry[], more: object = {}): string =>
  JSON.stringify({
    format: 'sidetrace-bundle',
    version: 1,
    node: 'n',
    begun: '2026-09-21T14:13:20Z',
    namespaces: [
      {
        path: 'ns',
        netns: 'ns',
        pod: { namespace: 'default', name: 'p', uid: 'u' },
        interfaces: [{ index: 2, name: 'eth0', addresses: ['10.0.0.1'] }],
        files: [
          { kind: 'packets', status: 'ok', file: 'packets.pcap' },
          ...files.map((each) => ({ status: 'ok', readAt: '2026-09-21T14:13:20Z', ...each })),
        ],
      },
    ],
    ...more,
  });

const bundleOf = (files: readonly FileEntry[], members: readonly TarMember[] = [], more: object = {}): Uint8Array =>
  writeTar({ name: 'bundle.json', data: manifest(files, more) }, { name: 'ns/packets.pcap', data: packets }, ...members);

const totalOf = (ended: Parameters<typeof recordsOf>[0]) => recordsOf(ended).at(-1);

test('a bundle by itself is read to its end', async () => {
  const ended = await runHostile(['replay', file('good.tar', bundleOf([])), '-o', 'json']);
  assert.equal(ended.code, 0, ended.err);
  assert.equal(totalOf(ended)?.packets, 3);
});

test('members that lead out of the archive, links and devices are refused, each with a sentence; the rest is read', async () => {
  const path = file(
    'links.tar',
    bundleOf(
      [
        { kind: 'iptables-save', file: '../../../../etc/passwd' },
        { kind: 'sockets', file: 'link' },
      ],
      [
        { name: '../../etc/cron.d/x', data: 'x' },
        { name: '/etc/passwd', data: 'x' },
        { name: 'ns/link', kind: '2', link: '/etc/passwd' },
        { name: 'ns/hard', kind: '1', link: 'bundle.json' },
        { name: 'ns/device', kind: '3' },
      ],
    ),
  );
  const ended = await runHostile(['replay', path, '-o', 'json']);
  assert.equal(totalOf(ended)?.packets, 3);
  assert.ok(ended.code === 2 || ended.code === 4, ended.out);
  const said = lossesOf(ended).join('\n');
  for (const name of ['../../etc/cron.d/x', '/etc/passwd', 'ns/link', 'ns/hard', 'ns/device', '../../../../etc/passwd'])
    assert.ok(said.includes(name), `${name} in ${said}`);
  assert.doesNotMatch(ended.out, /root:/);
});

test('links of a folder that lead out of it are refused', async () => {
  const root = place('folder-links');
  mkdirSync(`${root}/ns`, { recursive: true });
  writeFileSync(`${root}/bundle.json`, manifest([{ kind: 'sockets', file: 'sockets' }]));
  writeFileSync(`${root}/ns/packets.pcap`, packets);
  symlinkSync('/etc/passwd', `${root}/ns/sockets`);
  const ended = await runHostile(['replay', root, '-o', 'json']);
  assert.equal(totalOf(ended)?.packets, 3);
  assert.ok(lossesOf(ended).some((said) => /ns\/sockets/.test(said)));
  assert.equal(ended.code, 4, ended.out);
});

test('files that are named and not there are told, each once', async () => {
  const count = sized(300, 1_000);
  const files = Array.from({ length: count }, (_, i) => ({ kind: i % 2 === 0 ? 'sockets' : 'conntrack', file: `absent-${i}.txt` }));
  const ended = await runHostile(['replay', file('absent.tar', bundleOf(files)), '-o', 'json']);
  assert.equal(ended.code, 4, ended.out.slice(-500));
  assert.equal(
    lossesOf(ended).filter((said) =>
      /Cannot read "ns\/absent-\d+.txt" of ".*absent.tar": a file of the bundle is wanted, it is absent/.test(said),
    ).length,
    count,
  );
});

for (const [name, content, words] of [
  ['an empty file', '', /bundle.json/],
  ['no JSON', '{"format": ', /bundle.json.*JSON/s],
  ['a list', '[]', /bundle.json/],
  ['another format', '{"format": "other"}', /bundle.json/],
  ['a version of tomorrow', '{"format": "sidetrace-bundle", "version": 99}', /bundle.json/],
  ['nesting without an end', '['.repeat(1_000_000), /bundle.json/],
] as const)
  test(`a bundle.json that is ${name} is refused with the wish and the state`, async () => {
    const ended = await runHostile(['replay', file('manifest.tar', writeTar({ name: 'bundle.json', data: content })), '-o', 'json']);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, words);
  });

test('a bundle.json of strange values is read as far as it makes sense', async () => {
  const strange = JSON.stringify({
    format: 'sidetrace-bundle',
    version: 1,
    node: 7,
    begun: 'yesterday',
    lost: [null, { source: 5 }, { source: 'x', count: -1 }, { source: 'y', count: 1e300, exact: 'no' }],
    tools: [],
    namespaces: [
      null,
      5,
      {},
      { path: '..', files: 'x' },
      {
        path: 'ns',
        netns: 'ns',
        interfaces: 'none',
        files: [null, {}, { kind: 'packets', status: 'odd' }, { kind: 'packets', status: 'ok', file: 'packets.pcap' }],
      },
    ],
  });
  const path = file('strange.tar', writeTar({ name: 'bundle.json', data: strange }, { name: 'ns/packets.pcap', data: packets }));
  const ended = await runHostile(['replay', path, '-o', 'json']);
  assert.ok(ended.code === 2 || ended.code === 4, `${ended.code} ${ended.err}`);
});

test('very many namespaces, and very many readings of one thing, are bounded', async () => {
  const count = sized(200, 4_000);
  const files = Array.from({ length: count }, (_, i) => ({
    kind: 'iptables-save',
    family: 'ipv4',
    file: 'rules.txt',
    readAt: new Date(1_790_000_000_000 + i).toISOString(),
  }));
  const namespaces = Array.from({ length: count }, (_, i) => ({
    path: `ns${i}`,
    netns: `ns${i}`,
    interfaces: [],
    files: [{ kind: 'packets', status: 'ok', file: 'packets.pcap' }],
  }));
  const rules = '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j REDIRECT --to-ports 15006\nCOMMIT\n';
  for (const bytes of [bundleOf(files, [{ name: 'ns/rules.txt', data: rules }]), bundleOf([], [], { namespaces })]) {
    const ended = await runHostile(['replay', file('many.tar', bytes), '-o', 'json']);
    assert.ok(ended.code === 0 || ended.code === 4, ended.out.slice(-500));
  }
});

/** A configuration of so many bytes: listeners, clusters and endpoints as Istio makes them. */
function largeDump(length: number): string {
  const item = (kind: string, i: number, message: object) =>
    JSON.stringify({ version_info: 'v', [kind]: message, last_updated: '2026-09-21T14:00:00Z', name: `n${i}` }, undefined, 1);
  const socket = (ip: string, port: number) => ({ address: { socket_address: { address: ip, port_value: port } } });
  const count = Math.ceil(length / 4100);
  const listeners: string[] = [];
  const clusters: string[] = [];
  const endpoints: string[] = [];
  for (let i = 0; i < count; i++) {
    const ip = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
    const chain = {
      filters: [{ name: 'tcp', typed_config: { '@type': 'x/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', cluster: `c${i}` } }],
      metadata: { pad: 'p'.repeat(1000) },
    };
    listeners.push(
      JSON.stringify(
        {
          name: `l${i}`,
          active_state: {
            version_info: 'v',
            listener: { name: `l${i}`, ...socket(ip, 1000 + (i % 60_000)), bind_to_port: false, filter_chains: [chain] },
            last_updated: '2026-09-21T14:00:00Z',
          },
        },
        undefined,
        1,
      ),
    );
    clusters.push(item('cluster', i, { '@type': 'x/Cluster', name: `c${i}`, type: 'EDS', metadata: { pad: 'p'.repeat(1000) } }));
    endpoints.push(
      item('endpoint_config', i, {
        cluster_name: `c${i}`,
        endpoints: [{ lb_endpoints: [{ endpoint: socket(ip, 80), metadata: { pad: 'p'.repeat(500) } }] }],
      }),
    );
  }
  return `{"configs": [\n${[
    ['ListenersConfigDump', 'dynamic_listeners', listeners],
    ['ClustersConfigDump', 'dynamic_active_clusters', clusters],
    ['EndpointsConfigDump', 'dynamic_endpoint_configs', endpoints],
  ]
    .map(([type, list, items]) => `{"@type": "x/${String(type)}", "${String(list)}": [\n${(items as string[]).join(',\n')}]}`)
    .join(',\n')}]}\n`;
}

test('a configuration of 200 MiB is read, several of them are, and memory stays bounded', async () => {
  const dump = largeDump(sized(8, 200) * 1024 * 1024);
  const single = await runHostile(['replay', file('one.pcap', packets), '--config-dump', file('dump.json', dump), '-o', 'json']);
  assert.equal(single.code, 0, single.err);
  assert.equal(totalOf(single)?.packets, 3);
  const readings = ['2026-09-21T14:13:20Z', '2026-09-21T14:14:20Z'].map((readAt, i) => ({
    kind: 'config_dump',
    file: `dump${i}.json`,
    readAt,
  }));
  const half = full ? largeDump(100 * 1024 * 1024) : dump;
  const members = readings.map(({ file: name }) => ({ name: `ns/${name}`, data: half }));
  const both = await runHostile(['replay', file('dumps.tar', bundleOf(readings, members)), '-o', 'json']);
  assert.equal(both.code, 0, both.err);
  assert.equal(totalOf(both)?.packets, 3);
  const packed = await runHostile(['replay', file('dumps.tar.gz', gzipSync(bundleOf(readings, members), { level: 1 })), '-o', 'json']);
  assert.deepEqual(recordsOf(packed).length, recordsOf(both).length);
});

for (const command of ['rules', 'listeners', 'envoy'])
  test(`${command} of what is none ends with a sentence`, async () => {
    for (const subject of [
      place('absent'),
      file('bytes.bin', new Uint8Array([1, 2, 3, 0, 255])),
      file('empty.txt', ''),
      `${file('good2.tar', bundleOf([]))}/nobody`,
    ]) {
      const ended = await runHostile([command, subject]);
      assert.ok(
        ended.code === 1 || ended.code === 2 || (ended.code === 0 && command === 'rules'),
        `${command} ${subject}: ${ended.code} ${ended.err}`,
      );
      if (ended.code !== 0) assert.match(ended.err, /^sidetrace: /);
    }
  });
