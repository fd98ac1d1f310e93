import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { commands } from '../../src/cli/commands.ts';
import { run } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-cli-'));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const rules = file(
  'rules.txt',
  '*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n',
);

const mistakes: [args: string[], says: RegExp][] = [
  [['replays'], /unknown command 'replays'[\s\S]*Did you mean replay/],
  [['replay'], /RECORDING or --live INTERFACE is wanted, none is given/],
  [['replay', 'x', '--pot', 'a'], /unknown option '--pot'[\s\S]*Did you mean one of --not, --pod, --port/],
  [['replay', 'x', '-o', 'xml'], /Cannot write the format "xml": it must be one of text, tree, compact/],
  [['replay', 'x', '--first', '1', '--last', '1'], /Cannot give --first and --last together/],
  [['replay', 'x', '--first', 'many'], /Cannot take "many" for --first: a whole number is wanted/],
  [['replay', 'x', '--since', 'soon'], /Cannot read the time "soon"/],
  [['replay', 'x', '--ip', '10.0.0.0/99'], /Cannot filter by the address "10\.0\.0\.0\/99"/],
  [['replay', 'x', '--pod', 'a', '--not'], /--not must stand in front of a filter/],
  [['replay', 'x', '--color', 'blue'], /Cannot colour "blue"/],
  [['replay', '-', '-'], /Cannot read standard input twice/],
  [['replay', 'x', '--time-format', 'ISO'], /Cannot format times as "ISO"/],
  [['explain'], /SRC and DST:PORT are wanted/],
  [['explain', '10.0.0.1', '10.0.0.2:80'], /rules or a configuration are wanted/],
  [['explain', '10.0.0.1', 'nowhere', '--iptables', rules], /Cannot go to "nowhere": HOST:PORT is wanted/],
  [['explain', '10.0.0.1', '10.0.0.2:80', '--iptables', rules, '--tcp', '--path', '/'], /Cannot ask about bytes that are no HTTP/],
  [['explain', '10.0.0.1', '10.0.0.2:80', '--iptables', rules, '--protocol', 'sctp'], /it must be tcp or udp/],
  [['explain', '--batch', 'x'], /Cannot judge a batch without rules/],
  [['rules'], /BUNDLE\/POD or a rule file is wanted/],
  [['listeners'], /sockets are wanted/],
  [['envoy', 'trace'], /a destination HOST:PORT is wanted/],
  [['envoy', 'nothing', 'more'], /one proxy is wanted/],
  [['completion', 'csh'], /it must be bash, zsh, fish/],
];
for (const [args, says] of mistakes)
  test(`sidetrace ${args.join(' ').replace(folder, '')} is a usage error: exit code 1, a sentence on standard error, nothing on standard output`, () => {
    const { code, out, err } = run(args);
    assert.match(err, says);
    assert.match(err, /^sidetrace: /);
    assert.doesNotMatch(err, /\bat .*\.js:\d+/);
    assert.equal(out, '');
    assert.equal(code, 1);
  });

const broken: [what: string, args: () => string[], says: RegExp][] = [
  ['a capture that is not there', () => ['replay', join(folder, 'absent.pcap')], /Cannot open ".*absent\.pcap"[\s\S]*ENOENT|no such file/i],
  ['text in place of a capture', () => ['replay', file('text.pcap', 'hello world, this is no capture at all\n')], /text\.pcap"/],
  ['an empty capture', () => ['replay', file('empty.pcap', '')], /it is empty/],
  ['a rule file of another program', () => ['rules', file('pf.conf', 'pass in on em0 proto tcp to any port 80\n')], /rule file of pf/],
  ['a dump that is none', () => ['envoy', file('no.json', '{"a": 1}')], /no\.json|config_dump/],
  ['a batch that is not there', () => ['explain', '--batch', join(folder, 'absent'), '--iptables', rules], /Cannot read ".*absent"/],
  ['a listing of no sockets', () => ['listeners', '--sockets', file('no-sockets.txt', 'one two three\nfour five six\n')], /socket/],
];
for (const [what, args, says] of broken)
  test(`${what} ends with exit code 2 and a sentence`, () => {
    const { code, err } = run(args());
    assert.match(err, says);
    assert.match(err, /^sidetrace: /);
    assert.doesNotMatch(err, /fault in sidetrace itself/);
    assert.equal(code, 2);
  });

test('a file that cannot be written is told, and ends with an exit code', () => {
  const { code, err } = run(['version', '--output', join(folder, 'no', 'such', 'folder')]);
  assert.match(err, /Cannot write to ".*": a file that may be written is wanted, the system says ENOENT/);
  assert.equal(code, 2);
});

test('help goes to standard output with exit code 0, for the program and for every command, with examples', () => {
  for (const args of [
    [],
    ['--help'],
    ['help'],
    ...commands.flatMap(({ name }) => [
      [name, '--help'],
      ['help', name],
    ]),
  ]) {
    const { code, out, err } = run(args);
    assert.equal(code, 0, args.join(' '));
    assert.equal(err, '');
    assert.match(out, /^Usage: sidetrace/);
    if (args.length > 1 && args[0] !== 'version' && args[1] !== 'version') assert.match(out, /Examples:\n {2}/, args.join(' '));
  }
});

test('version tells the version, as text and as JSON', () => {
  assert.match(run(['version']).out, /^sidetrace \S+ \(Node\.js \d+/);
  assert.match(run(['--version']).out, /^\S+\n$/);
  assert.equal(typeof JSON.parse(run(['version', '-o', 'json']).out).sidetrace, 'string');
});
