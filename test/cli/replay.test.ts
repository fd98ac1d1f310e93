import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { sinks } from '../../src/output/sinks.ts';
import { main, run, shell } from './run.ts';

const capture = 'captures/self-call';
const here = { skip: existsSync(capture) ? false : `SKIPPED: "${capture}" is absent (run the tests from the repository's root)` };
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-replay-'));
after(() => rmSync(folder, { recursive: true }));

test('replay prints paths for a person', here, () => {
  const { code, out, err } = run(['replay', capture]);
  assert.match(out, /GET productpage:9080\/ → 200 in/);
  assert.match(out, /├─ app → proxy/);
  assert.match(out, /rule {6}REDIRECT 15001 by nat ISTIO_REDIRECT\/1/);
  assert.match(out, /cluster {3}outbound\|9080\|\|productpage\.default\.svc\.cluster\.local → /);
  assert.match(out, /\nread {6}\d+ packets/);
  assert.equal(err, '');
  assert.equal(code, 0);
});

for (const name of [...sinks.map((format) => format.name), 'pcapng'])
  test(`replay -o ${name} gives the same bytes twice, on standard output and in a file`, here, () => {
    const path = join(folder, `out.${name}`);
    const { code, out } = run(['replay', capture, '-o', name], { encoding: 'buffer' });
    assert.equal(code, 0);
    assert.equal(run(['replay', capture, '-o', name, '--output', path]).out, '');
    assert.equal(readFileSync(path).toString(), out);
    assert.ok(out.length > 500);
  });

test('a reader that goes away ends the replay quietly', here, () => {
  for (const format of ['text', 'json', 'compact', 'csv', 'msgpack', 'pcapng']) {
    const { code, err } = shell(
      `set -o pipefail; $SIDETRACE replay captures -o ${format} | head -c 100 > ${join(folder, 'head')}; exit $?`.replace(
        'replay captures',
        `replay ${capture} ${capture}`,
      ),
    );
    assert.equal(err, '', format);
    assert.equal(code, 0, format);
  }
});

test('filters choose flows, and --not negates the next one', here, () => {
  const legs = (...flags: string[]): string[] =>
    run(['replay', capture, '-o', 'json', ...flags])
      .out.trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .flatMap(({ type, roles }) => (type === 'flow' ? roles : []));
  const all = new Set(legs());
  assert.ok(all.has('app-to-proxy') && all.size > 3);
  assert.deepEqual(new Set(legs('--leg', 'app-to-proxy', '--leg', 'proxy-to-app')), new Set(['app-to-proxy', 'proxy-to-app']));
  assert.ok(!legs('--not', '--leg', 'app-to-proxy').includes('app-to-proxy'));
  assert.deepEqual(legs('--leg', 'app-to-proxy', '--port', '1'), []);
  assert.ok(legs('--http-status', '2+', '--label', 'app=productpage').length > 0);
  assert.deepEqual(legs('--http-status', '5+'), []);
});

const failures = 'captures/failures';
test('--finding chooses the flows and paths in which something was found, by the rule or by one finding', {
  skip: existsSync(failures) ? false : `SKIPPED: "${failures}" is absent (run the tests from the repository's root)`,
}, () => {
  const records = (...flags: string[]) =>
    run(['replay', failures, '-o', 'json', ...flags])
      .out.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const findings = records().filter(({ type }) => type === 'finding');
  const rules = new Set(findings.map(({ rule }) => rule));
  assert.ok(rules.size > 5);
  for (const [value, wanted] of [
    ['proxy-not-listening', findings.filter(({ rule }) => rule === 'proxy-not-listening')],
    [findings[0].id, [findings[0]]],
  ] as const) {
    const chosen = records('--finding', value);
    const ids = (type: string): string[] => chosen.filter((record) => record.type === type).map(({ id }) => id);
    assert.deepEqual(new Set(ids('flow')), new Set(wanted.flatMap(({ flows }) => flows)), value);
    for (const { id } of wanted) assert.ok(ids('finding').includes(id));
    for (const path of wanted.flatMap(({ paths }) => paths)) assert.ok(ids('path').includes(path));
    const denied = records('--not', '--finding', value).filter(({ type }) => type === 'flow');
    for (const { findings: found = [] } of denied) assert.ok(!found.some((id: string) => wanted.some((finding) => finding.id === id)));
  }
  assert.deepEqual(
    records('--finding', 'nothing-of-this-name').map(({ type }) => type),
    ['total'],
  );
});

test('TCP flags are those of the packets, in every format and in the filter', here, () => {
  const flows = (...flags: string[]) =>
    run(['replay', capture, '-o', 'json', ...flags])
      .out.split('\n')
      .filter((line) => line.startsWith('{"type":"flow"') && line.includes('"protocol":"tcp"'));
  const begun = flows().filter((line) => /"flags":\{"toDestination":"(FIN,)?SYN,PSH,ACK"/.test(line));
  assert.ok(begun.length > 1);
  assert.deepEqual(flows('--tcp-flags', 'syn,ack'), begun);
  for (const never of ['cwr', 'ece', 'urg']) assert.deepEqual(flows('--tcp-flags', never), [], never);
  assert.match(run(['replay', capture, '-o', 'compact']).out, /\(TCP Flags: SYN, ACK, (FIN, )?PSH(;|\))/);
  const hubble = run(['replay', capture, '-o', 'hubble']).out;
  assert.match(hubble, /"flags":\{"SYN":true,"ACK":true,("FIN":true,)?"PSH":true\}/);
  for (const text of [hubble, run(['replay', capture, '-o', 'dict']).out]) assert.doesNotMatch(text, /\b(CWR|ECE|URG|NS)\b/);
});

test('colours only where they are wanted', here, () => {
  const sequence = '\u001b[';
  assert.ok(!run(['replay', capture]).out.includes(sequence));
  assert.ok(run(['replay', capture], { env: { FORCE_COLOR: '1' } }).out.includes(sequence));
  assert.ok(run(['replay', capture, '--color', 'always'], { env: { NO_COLOR: '1' } }).out.includes(sequence));
  assert.ok(!run(['replay', capture, '--color', 'never'], { env: { FORCE_COLOR: '1' } }).out.includes(sequence));
});

/** A pcap header, and as many Ethernet frames of 60 bytes (UDP to a port of its own each) as asked. */
function pcap(packets: number): Buffer {
  const header = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');
  const frames: Buffer[] = [header];
  for (let i = 0; i < packets; i++) {
    const frame = Buffer.alloc(16 + 60);
    frame.writeUInt32LE(1_795_000_000 + Math.floor(i / 1000), 0);
    frame.writeUInt32LE((i % 1000) * 1000, 4);
    frame.writeUInt32LE(60, 8);
    frame.writeUInt32LE(60, 12);
    Buffer.from('020000000001020000000002080045000020000040004011000a0a0000010a000002', 'hex').copy(frame, 16);
    frame.writeUInt16BE(1024 + (i % 50_000), 16 + 34);
    frame.writeUInt16BE(9, 16 + 36);
    frame.writeUInt16BE(12, 16 + 38);
    frames.push(frame);
  }
  return Buffer.concat(frames);
}

test('standard input is a recording, also for pcapng, which reads it twice', () => {
  const input = pcap(100);
  const { code, out } = run(['replay', '-', '-o', 'json'], { input });
  const total = JSON.parse(out.trim().split('\n').at(-1)!);
  assert.deepEqual([total.type, total.packets, total.flows], ['total', 100, 100]);
  assert.equal(code, 0);
  const again = run(['replay', '-', '-o', 'pcapng', '--output', join(folder, 'again.pcapng')], { input });
  assert.equal(again.code, 0);
  assert.equal(
    JSON.parse(
      run(['replay', join(folder, 'again.pcapng'), '-o', 'json'])
        .out.trim()
        .split('\n')
        .at(-1)!,
    ).packets,
    100,
  );
});

test('a cut recording shows what could be read, says what was lost, and ends with exit code 2', () => {
  const { code, out } = run(['replay', '-', '-o', 'json'], { input: pcap(100).subarray(0, -10) });
  const records = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(records.filter(({ type }) => type === 'flow').length, 99);
  assert.equal(records.filter(({ type }) => type === 'lost').length, 1);
  assert.equal(records.at(-1).packets, 99);
  assert.equal(code, 2);
});

test('a full disk is told, and ends with exit code 4', { skip: existsSync('/dev/full') ? false : 'SKIPPED: /dev/full is absent' }, () => {
  const { code, err } = run(['replay', '-', '-o', 'json', '--output', '/dev/full'], { input: pcap(100) });
  assert.match(err, /Cannot write the records: a place with room is wanted, the system says ENOSPC/);
  assert.equal(code, 4);
});

test('Ctrl-C prints the totals so far and ends with exit code 130', async () => {
  const child = spawn(process.execPath, [main, 'replay', '-', '-o', 'json'], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {});
  const chunk = pcap(2000);
  child.stdin.write(chunk);
  const body = chunk.subarray(24);
  const feeding = setInterval(() => child.stdin.write(body), 5);
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  setTimeout(() => child.kill('SIGINT'), 1500);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(feeding);
  const total = JSON.parse(out.trim().split('\n').at(-1)!);
  assert.equal(total.type, 'total');
  assert.ok(total.packets > 2000);
  assert.equal(code, 130);
});
