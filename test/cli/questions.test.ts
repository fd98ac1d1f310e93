import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run, shell } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-questions-'));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const capture = 'captures/bookinfo';
const here = { skip: existsSync(capture) ? false : `SKIPPED: "${capture}" is absent (run the tests from the repository's root)` };

const rules = file(
  'rules.txt',
  `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
:FORGOTTEN - [0:0]
[5:300] -A PREROUTING -p tcp -j ISTIO_INBOUND
[9:540] -A OUTPUT -p tcp -j ISTIO_OUTPUT
[0:0] -A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
[0:0] -A ISTIO_INBOUND -i eth0 -p tcp -m tcp --dport 15021 -j RETURN
[5:300] -A ISTIO_INBOUND -p tcp -j REDIRECT --to-ports 15006
[0:0] -A ISTIO_INBOUND -p tcp -m tcp --dport 80 -j RETURN
[0:0] -A ISTIO_OUTPUT -i eth0 -j RETURN
[4:240] -A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
[5:300] -A ISTIO_OUTPUT -j ISTIO_REDIRECT
[5:300] -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
[0:0] -A FORGOTTEN -j RETURN
COMMIT
`,
);

test('rules tells each rule in words, its hits, and what can never match', () => {
  const { code, out } = run(['rules', rules]);
  assert.equal(code, 0);
  assert.match(out, /TCP packets: send them to port 15006/);
  assert.match(out, /can never match: rule 1 takes every packet that it asks for\n/);
  assert.match(out, /5 hits/);
  assert.match(out, /never hit/);
  const { tables } = JSON.parse(run(['rules', rules, '-o', 'json']).out);
  const never = tables[0].chains.flatMap(({ chain, rules }: { chain: string; rules: { index: number; never?: string }[] }) =>
    rules.flatMap((rule) => (rule.never === undefined ? [] : [`${chain}/${rule.index}: ${rule.never}`])),
  );
  assert.deepEqual(never, [
    'ISTIO_INBOUND/2: no packet gets this far: rule 1 takes every packet that it asks for',
    'ISTIO_INBOUND/4: no packet gets this far: rule 3 takes every packet that it asks for',
    'ISTIO_OUTPUT/1: no packet can match it: what it asks for cannot be, where it stands',
    'FORGOTTEN/1: no packet ever gets here: no rule leads to this chain',
  ]);
  assert.equal(
    shell(`cat ${rules} | $SIDETRACE rules - -o json`).out.replace('"subject": "-"', ''),
    run(['rules', rules, '-o', 'json']).out.replace(`"subject": ${JSON.stringify(rules)}`, ''),
  );
});

test('rules of a pod counts the hits during the recording', here, () => {
  const { code, out } = run(['rules', `${capture}/client`, '--chain', 'ISTIO_REDIRECT', '-o', 'json']);
  assert.equal(code, 0);
  const [rule] = JSON.parse(out).tables[0].chains[0].rules;
  assert.ok(rule.during > 0 && rule.during <= rule.packets);
});

test('listeners tells who listens, in a bundle and in the output of ss', here, () => {
  const { code, out } = run(['listeners', `${capture}/default/client`]);
  assert.equal(code, 0);
  assert.match(out, /15006 +2 +envoy.*everybody +Envoy, inbound traffic.*virtualInbound/);
  const ss =
    'Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\ntcp   LISTEN 0      128    127.0.0.1:8080     0.0.0.0:*         users:(("app",pid=7,fd=3))\n';
  const rows = JSON.parse(
    shell(`printf '${ss.replaceAll('\n', '\\n').replaceAll('"', '\\"')}' | $SIDETRACE listeners - -o json`).out,
  ).listeners;
  assert.deepEqual(rows, [{ protocol: 'tcp', address: '127.0.0.1', port: 8080, sockets: 1, process: 'app', pid: 7, reach: 'loopback' }]);
});

test('envoy prints each view as a table and as JSON', here, () => {
  for (const view of ['listeners', 'chains', 'routes', 'clusters', 'endpoints', 'rejected']) {
    const { code, out } = run(['envoy', view, `${capture}/client`, '-o', 'json']);
    assert.equal(code, 0, view);
    assert.ok(Array.isArray(JSON.parse(out)[view]), view);
  }
  assert.match(
    run(['envoy', 'chains', `${capture}/client`, '--only', 'virtualInbound']).out,
    /virtualInbound +0 +virtualInbound-blackhole +port 15006/,
  );
  assert.match(run(['envoy', `${capture}/client`]).out, /^proxy {5}sidecar default\/client/);
});

test('envoy trace says what a proxy does with one request, and what it rejected', here, () => {
  const { services } = { services: JSON.parse(run(['explain', `${capture}/client`, 'productpage:9080', '-o', 'json']).out).destination };
  const { code, out } = run([
    'envoy',
    'trace',
    `${capture}/client`,
    `${services.ip}:9080`,
    '--authority',
    'productpage:9080',
    '--path',
    '/productpage',
  ]);
  assert.equal(code, 0);
  assert.match(out, /delivered to port 15001/);
  assert.match(out, /cluster {3}outbound\|9080\|\|productpage\.default\.svc\.cluster\.local/);
  assert.match(out, /goes to .* · TLS, SNI outbound_\.9080_\._\.productpage/);
});

test('explain follows a request from the application through both proxies to the application', here, () => {
  const way = JSON.parse(run(['explain', `${capture}/client`, 'productpage:9080', '--path', '/productpage', '-o', 'json']).out);
  assert.deepEqual(
    way.legs.map(
      ({
        role,
        hook,
        rule,
        envoy,
      }: {
        role: string;
        hook: string;
        rule: { verdict: string; port?: number };
        envoy?: { cluster: string };
      }) => [role, hook, rule.verdict, rule.port, envoy?.cluster],
    ),
    [
      ['app-to-proxy', 'OUTPUT', 'REDIRECT', 15001, 'outbound|9080||productpage.default.svc.cluster.local'],
      ['proxy-to-upstream', 'OUTPUT', 'ACCEPT', undefined, undefined],
      ['client-to-proxy', 'PREROUTING', 'REDIRECT', 15006, 'inbound|9080||'],
      ['proxy-to-app', 'OUTPUT', 'ACCEPT', undefined, undefined],
    ],
  );
  assert.match(way.end, /^it reaches port 9080 of default\/productpage-v1/);
  const { out } = run(['explain', `${capture}/client`, 'productpage:9080', '--path', '/productpage']);
  assert.match(out, /not virtualInbound-blackhole\[0\]: port-mismatch/);
});

test('explain comes in at a gateway by its service, and goes on in the mesh', here, () => {
  const way = JSON.parse(
    run(['explain', '192.0.2.7', 'istio-system/istio-ingressgateway:80', '--path', '/productpage', '--bundle', capture, '-o', 'json']).out,
  );
  assert.deepEqual(
    way.legs.map(({ role, at, before }: { role: string; at: string; before?: string }) => [
      role,
      at.replace(/-[0-9a-f]{8,10}-\w+$/, ''),
      before,
    ]),
    [
      ['client-to-proxy', 'istio-system/istio-ingressgateway', 'kube-proxy chooses a pod of istio-system/istio-ingressgateway'],
      ['proxy-to-upstream', 'istio-system/istio-ingressgateway', undefined],
      ['client-to-proxy', 'default/productpage-v1', undefined],
      ['proxy-to-app', 'default/productpage-v1', undefined],
    ],
  );
});

const tproxy = 'captures/tproxy';
test("explain keeps the client's address where TPROXY does, and says what the mark leaves open", {
  skip: existsSync(tproxy) ? false : `SKIPPED: "${tproxy}" is absent`,
}, () => {
  const way = JSON.parse(run(['explain', `${tproxy}/client`, 'details:9080', '-o', 'json']).out);
  const [app, , inbound, last] = way.legs;
  assert.deepEqual([inbound.rule.verdict, inbound.rule.port], ['TPROXY', 15006]);
  assert.equal(last.source.ip, app.source.ip);
  assert.deepEqual([last.rule.verdict, last.rule.reason, last.assumedOwner], ['ACCEPT', 'mark-unknown', { uid: 0, gid: 1337 }]);
});

test('explain works with files alone', () => {
  const { code, out } = run(['explain', '10.0.0.5', '93.184.216.34:80', '--iptables', rules, '--pod-address', '10.0.0.5', '-o', 'json']);
  assert.equal(code, 0);
  const [leg] = JSON.parse(out).legs;
  assert.deepEqual(
    [leg.role, leg.rule.verdict, leg.rule.port, leg.stops],
    ['app-to-proxy', 'REDIRECT', 15001, 'no Envoy configuration was recorded for this pod'],
  );
  const proxy = JSON.parse(
    run(['explain', '10.0.0.5', '93.184.216.34:80', '--iptables', rules, '--pod-address', '10.0.0.5', '--uid', '1337', '-o', 'json']).out,
  );
  assert.deepEqual([proxy.legs[0].role, proxy.legs[0].rule.verdict], ['direct', 'ACCEPT']);
});

const packets = [
  {
    hook: 'OUTPUT',
    protocol: 'tcp',
    source: { ip: '10.0.0.5', port: 1234 },
    destination: { ip: '10.0.0.9', port: 80 },
    out: 'eth0',
    uid: 1000,
    gid: 1000,
  },
  {
    hook: 'OUTPUT',
    protocol: 'tcp',
    source: { ip: '10.0.0.5', port: 1234 },
    destination: { ip: '10.0.0.9', port: 80 },
    out: 'eth0',
    uid: 1337,
  },
  { hook: 'OUTPUT', protocol: 'tcp', source: { ip: '10.0.0.5', port: 1234 }, destination: { ip: '10.0.0.9', port: 80 }, out: 'eth0' },
  { hook: 'PREROUTING', protocol: 'tcp', source: { ip: '10.0.0.9', port: 1234 }, destination: { ip: '10.0.0.5', port: 8080 }, in: 'eth0' },
  { hook: 'PREROUTING', protocol: 'udp', source: { ip: '10.0.0.9', port: 1234 }, destination: { ip: '10.0.0.5', port: 53 }, in: 'eth0' },
];

test('explain --batch gives one answer a line, in the order of the packets', () => {
  const path = file('packets.jsonl', packets.map((packet) => JSON.stringify(packet)).join('\n'));
  const { code, out, err } = run(['explain', '--batch', path, '--iptables', rules, '-o', 'json']);
  assert.equal(err, '');
  assert.equal(code, 0);
  const answers = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).rule);
  assert.deepEqual(
    answers.map(({ verdict, port, evidence, reason }) => [verdict, port, evidence, reason]),
    [
      ['REDIRECT', 15001, 'derived', undefined],
      ['ACCEPT', undefined, 'derived', undefined],
      ['unknown', undefined, 'ambiguous', 'owner-unknown'],
      ['REDIRECT', 15006, 'derived', undefined],
      ['ACCEPT', undefined, 'derived', undefined],
    ],
  );
  assert.deepEqual(
    answers[1].steps.map(({ chain, index }: { chain: string; index: number }) => `${chain}/${index}`),
    ['OUTPUT/1', 'ISTIO_OUTPUT/2'],
  );
  assert.equal(shell(`cat ${path} | $SIDETRACE explain --batch - --iptables ${rules} -o json`).out, out);
});

test('explain --batch answers a line that is no packet with an error in its place, and ends with exit code 2', () => {
  const path = file('wrong.jsonl', `${JSON.stringify(packets[0])}\n{"hook":"NOWHERE"}\nnot json\n${JSON.stringify(packets[3])}\n`);
  const { code, out, err } = run(['explain', '--batch', path, '--iptables', rules, '-o', 'json']);
  const answers = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    answers.map(({ rule, error }) => rule?.verdict ?? error.slice(0, 23)),
    ['REDIRECT', 'Cannot judge the packet', 'Cannot judge the packet', 'REDIRECT'],
  );
  assert.match(err, /Cannot judge 2 of the lines/);
  assert.equal(code, 2);
});

test('explain --batch asks Envoy where a configuration is given', here, () => {
  const { destination } = JSON.parse(run(['explain', `${capture}/client`, 'productpage:9080', '-o', 'json']).out);
  const packet = {
    ...packets[0],
    destination,
    request: { method: 'GET', authority: 'productpage:9080', path: '/productpage', headers: {} },
  };
  const { out } = run(['explain', '--batch', file('one.jsonl', JSON.stringify(packet)), `${capture}/client`, '-o', 'json']);
  const { rule, envoy } = JSON.parse(out);
  assert.equal(rule.port, 15001);
  assert.equal(envoy.cluster, 'outbound|9080||productpage.default.svc.cluster.local');
});

test('a pod that is not clear is asked for, with the names there are', here, () => {
  const { code, err } = run(['rules', `${capture}/re`]);
  assert.equal(code, 1);
  assert.match(
    err,
    /Cannot choose a pod of "captures\/bookinfo\/re": one is wanted \(BUNDLE\/POD\), \d fit\. There are:\n {2}default\/reviews/,
  );
});
