import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { SharedParts } from '../../src/daemon/envoy/shared-parts.ts';
import { BuiltValues } from '../../src/envoy/built-values.ts';
import { addClusters, type EnvoyConfig, EnvoyConfigError, parseConfigDump } from '../../src/envoy/config.ts';
import { DumpBuilder } from '../../src/envoy/dump-builder.ts';
import { listenerIndex } from '../../src/envoy/listener-index.ts';
import { listener } from './configs.ts';
import { Random } from './random.ts';

const cluster = (name: string) => ({ name, type: 'EDS' });
/** A dump takes a hundred times as long as a packet. */
const mutations = Number(process.env.SIDETRACE_DUMP_FUZZ ?? 20_000);
const readAt = '2026-11-23T06:00:00Z';
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-dumps-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Every config_dump of the recordings under captures/. */
function dumps(): { name: string; bytes: Uint8Array }[] {
  const found: { name: string; bytes: Uint8Array }[] = [];
  for (const archive of readdirSync('captures', { recursive: true }).map(String))
    if (archive.endsWith('.tar.gz')) {
      const into = mkdtempSync(join(folder, 'x-'));
      execFileSync('tar', ['-xzf', join('captures', archive), '-C', into]);
      for (const file of readdirSync(into, { recursive: true }).map(String))
        if (/config_dump[^/]*\.json$/.test(file)) found.push({ name: `${archive}/${file}`, bytes: readFileSync(join(into, file)) });
    }
  return found;
}

const maker = () => ({ built: new BuiltValues() });

function build(bytes: Uint8Array, cut: () => number, parts?: SharedParts, previous?: EnvoyConfig): EnvoyConfig {
  const builder = new DumpBuilder(parts === undefined ? maker() : { ...maker(), keep: (part, field) => parts.keep(part, field) }, previous);
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + cut());
    // A chunk's memory is used again by whoever gave it.
    builder.add(bytes.slice(at, end));
    at = end;
  }
  return builder.finish(readAt);
}

/** Everything that a configuration answers, in plain values; functions are left out. */
function told(config: EnvoyConfig): ReturnType<typeof answers> {
  return JSON.parse(JSON.stringify(answers(config), (_key, value) => (value instanceof Map || value instanceof Set ? [...value] : value)));
}

function answers(config: EnvoyConfig) {
  const plain = <T>(resource: { name: string; state: string; version: string; lastUpdatedMs?: number; value: T }) => ({
    name: resource.name,
    state: resource.state,
    version: resource.version,
    lastUpdatedMs: resource.lastUpdatedMs,
    value: resource.value,
  });
  const clusters = [...config.clusters.values()].flat();
  return {
    listeners: config.listeners.map(plain),
    clusters: clusters.map(plain),
    routes: config.routes.map(plain),
    endpoints: clusters.map(({ value }) => config.endpointsOf(value)),
    targets: [...config.targets.clusters].map(([target, list]) => [target, list.map(({ name }) => name)]),
    complete: config.targets.complete,
    ports: [...listenerIndex(config).byPort.keys()],
    bootstrap: config.bootstrap,
    secrets: config.secrets,
    rejected: config.rejected,
    versions: (['listeners', 'clusters'] as const).map((section) => config.versionOf(section)),
    sections: (['bootstrap', 'clusters', 'endpoints', 'listeners', 'routes', 'scoped-routes', 'secrets'] as const).map((name) =>
      config.has(name),
    ),
  };
}

test('every recorded dump, cut anywhere, tells what it tells when it is read in one', () => {
  const random = new Random(7);
  const all = dumps();
  assert.ok(all.length > 20, `${all.length} dumps`);
  const parts = new SharedParts();
  for (const { name, bytes } of all) {
    const wanted = told(parseConfigDump(bytes, { readAt }));
    for (const cut of [() => bytes.length, () => 65_536, () => 1 + random.below(2000)])
      assert.deepEqual(told(build(bytes, cut, parts)), wanted, name);
  }
  assert.deepEqual(told(build(all[0]!.bytes, () => 1)), told(parseConfigDump(all[0]!.bytes, { readAt })));
});

const small = {
  configs: [
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.BootstrapConfigDump',
      bootstrap: { node: { id: 'a "quoted" \\ one' }, lists: [[1, [2]], ['x'], [{}]] },
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.ListenersConfigDump',
      version_info: '7',
      static_listeners: [{ listener: listener('s', '10.0.0.9:1') }],
      dynamic_listeners: [
        {
          name: 'l',
          active_state: { version_info: '7', listener: listener('l', '10.0.0.1:80') },
          error_state: { details: 'no', failed_configuration: { name: 'l' } },
        },
        {
          name: 'm',
          draining_state: { listener: listener('m', '10.0.0.1:81') },
          warming_state: { listener: listener('m', '10.0.0.1:82') },
        },
      ],
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump',
      dynamicActiveClusters: [{ cluster: cluster('c') }, { cluster: cluster('d') }],
      static_clusters: [],
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.SecretsConfigDump',
      dynamic_active_secrets: [{ name: 's', secret: { tls_certificate: {} } }],
    },
    {
      '@type': 'type.googleapis.com/some.other.Thing',
      strings: ['a', 'b'],
      numbers: [1, 2],
      mixed: [1, {}],
      empty: [],
      lists: [[1]],
      text: 'x[{',
    },
  ],
  trailing: { configs: [{ '@type': 'not this' }] },
};

test('every way to write it: indented or not, names in lowerCamelCase, lists of other things, cut at every byte', () => {
  for (const text of [
    JSON.stringify(small),
    JSON.stringify(small, undefined, 1),
    JSON.stringify(small, undefined, '\t').replace(/,/g, ' ,\r\n'),
  ]) {
    const bytes = new TextEncoder().encode(text);
    const wanted = told(parseConfigDump(bytes, { readAt }));
    assert.equal(wanted.rejected.length, 1);
    assert.equal(wanted.secrets.length, 1);
    for (let first = 1; first < bytes.length; first += 7) {
      let cuts = 0;
      assert.deepEqual(told(build(bytes, () => (cuts++ === 0 ? first : bytes.length))), wanted);
    }
  }
});

for (const [what, text, says] of [
  ['nothing', '', /its end is wanted/],
  ['HTML', '<!doctype html><html>', /an object is wanted; it begins with "</],
  ['a list', '[1]', /an object is wanted/],
  ['a string', '"configs"', /an object is wanted/],
  ['no "configs"', '{"a":[{}]}', /a list "configs" is wanted/],
  ['"configs" deeper down', '{"a":{"configs":[{}]}}', /a list "configs" is wanted/],
  ['"configs" that is no list', '{"configs":{"a":1}}', /a list "configs" is wanted/],
  ['sections that are none', '{"configs":[1]}', /a section is wanted/],
  ['sections that are strings', '{"configs":["a"]}', /a section is wanted/],
  ['sections that are lists', '{"configs":[[]]}', /a section is wanted/],
  ['sections of other kinds', '{"configs":[{"@type":"x.Y"}]}', /"Y" is there/],
  ['half of it', JSON.stringify(small).slice(0, 900), /its end is wanted/],
  ['more after its end', `${JSON.stringify(small)}{}`, /nothing more is wanted/],
  ['words after its end', `${JSON.stringify(small)} x`, /nothing more is wanted/],
  ['brackets that do not fit', '{"configs":[{"a":[}]}]}', /another bracket is wanted/],
  ['an entry that is no JSON', '{"configs":[{"@type":"x.ClustersConfigDump","static_clusters":[{"a":tru}]}]}', /JSON is wanted/],
  [
    'entries of two kinds',
    '{"configs":[{"@type":"x.ClustersConfigDump","static_clusters":[{},5]}]}',
    /objects only are wanted in "static_clusters"/,
  ],
  ['201 levels', `{"configs":[{"a":${'['.repeat(300)}`, /at most 200 levels/],
] as const)
  test(`refused, with what is wanted: ${what}`, () => {
    for (const size of [1, 7, 100_000])
      assert.throws(
        () => build(new TextEncoder().encode(text), () => size),
        (error) => error instanceof EnvoyConfigError && says.test(error.message),
      );
  });

test('one entry that never ends is refused at 32 MiB, and what was kept of it is let go', () => {
  const builder = new DumpBuilder(maker());
  builder.add(new TextEncoder().encode('{"configs":[{"static_clusters":[{"a":"'));
  const chunk = new Uint8Array(1024 * 1024).fill(0x61);
  assert.throws(() => {
    for (let i = 0; i < 100; i++) builder.add(chunk);
  }, /at most 32 MiB of one entry/);
});

test('any text ends in a configuration or an EnvoyConfigError, the same however it is cut', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '\\',
    '1',
    ' ',
    'configs',
    '"configs":[',
    '"@type":"x.ClustersConfigDump"',
    '"static_clusters":[',
    '{"cluster":{"name":"a"}}',
    'null',
  );
  const result = (bytes: Uint8Array, cut: () => number) => {
    try {
      return [...build(bytes, cut).clusters.keys()].join();
    } catch (error) {
      assert.ok(error instanceof EnvoyConfigError, String(error));
      return 'refused';
    }
  };
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.nat({ max: 30 }), (pieces, size) => {
      const bytes = new TextEncoder().encode(`{"configs":[{${pieces.join('')}`);
      assert.equal(
        result(bytes, () => size + 1),
        result(bytes, () => bytes.length + 1),
      );
    }),
    { seed: 5, numRuns: 20_000 },
  );
});

test('mutated dumps: what reads is read, what does not is an EnvoyConfigError; nothing is read that is refused in one piece as no dump', () => {
  const random = new Random(11);
  const good = new TextEncoder().encode(JSON.stringify(small));
  for (let i = 0; i < mutations; i++) {
    const bytes = good.slice();
    for (let n = 0; n < 1 + random.next() * 4; n++) bytes[random.below(bytes.length)] = random.below(256);
    try {
      told(build(bytes, () => 64));
    } catch (error) {
      assert.ok(error instanceof SyntaxError, String(error));
    }
  }
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});

test('two readings share what is equal: the same lists, and of a changed list the resources that are as before', () => {
  const parts = new SharedParts();
  const text = (version: string) =>
    new TextEncoder().encode(
      JSON.stringify(small).replace('"version_info":"7","listener":{"name":"l"', `"version_info":"${version}","listener":{"name":"l"`),
    );
  const first = build(text('7'), () => 100, parts);
  const same = build(text('7'), () => 50, parts, first);
  assert.equal(same.clusters, first.clusters);
  assert.equal(same.listeners, first.listeners);
  const changed = build(text('8'), () => 100, parts, same);
  assert.equal(changed.clusters, first.clusters);
  assert.notEqual(changed.listeners, first.listeners);
  assert.deepEqual(
    changed.listeners.map((resource, i) => resource === first.listeners[i]),
    [true, false, true, true],
  );
  assert.equal(changed.listeners[1]?.version, '8');
});

test('health of one Envoy is not that of another one with the same endpoints', () => {
  const dump = {
    configs: [
      { '@type': 'x.ClustersConfigDump', dynamic_active_clusters: [{ cluster: { name: 'c', type: 'EDS' } }] },
      {
        '@type': 'x.EndpointsConfigDump',
        dynamic_endpoint_configs: [
          {
            endpoint_config: {
              cluster_name: 'c',
              endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '10.0.0.1', port_value: 80 } } } }] }],
            },
          },
        ],
      },
    ],
  };
  const status = (failed: boolean) => ({
    cluster_statuses: [
      {
        name: 'c',
        host_statuses: [
          { address: { socket_address: { address: '10.0.0.1', port_value: 80 } }, health_status: { failed_outlier_check: failed } },
        ],
      },
    ],
  });
  const parts = new SharedParts();
  const built = new BuiltValues();
  const of = (failed: boolean) => {
    const builder = new DumpBuilder({ built, keep: (part, field) => parts.keep(part, field) });
    builder.add(new TextEncoder().encode(JSON.stringify(dump)));
    const config = addClusters(builder.finish(readAt), status(failed));
    return config.endpointsOf(config.clusters.get('c')![0]!.value)![0]!.health;
  };
  assert.equal(of(true), 'UNHEALTHY');
  assert.notEqual(of(false), 'UNHEALTHY');
  assert.equal(of(true), 'UNHEALTHY');
});
