/** Every command that a page or a help text prints, run as it is printed, in a folder that holds the files that it names. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { commands } from '../../src/cli/commands.ts';
import { main, run } from './run.ts';

const recording = 'captures/bookinfo';
const here = { skip: existsSync(recording) ? false : `SKIPPED: "${recording}" is absent (run the tests from the repository's root)` };
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-examples-'));
const programs = join(folder, 'bin');
after(() => rmSync(folder, { recursive: true }));

const batch = {
  hook: 'OUTPUT',
  protocol: 'tcp',
  source: { ip: '10.244.1.14', port: 40_000 },
  destination: { ip: '10.96.3.115', port: 9080 },
  uid: 1000,
  gid: 1000,
};

/** What stands for a program that asks the system: it gives a recorded answer. */
const recorded: { readonly [program: string]: string } = {
  tcpdump: 'any.pcap',
  'iptables-save': 'rules.txt',
  ss: 'sockets.txt',
};

before(() => {
  if (here.skip !== false) return;
  symlinkSync(resolve('captures'), join(folder, 'captures'));
  for (const node of ['node-a.tar.gz', 'node-b.tar.gz']) copyFileSync(join(recording, node), join(folder, node));
  mkdirSync(join(folder, 'bundle'));
  assert.equal(spawnSync('tar', ['-xzf', join(folder, 'node-a.tar.gz'), '-C', join(folder, 'bundle')]).status, 0);
  symlinkSync(join(folder, 'bundle'), join(folder, 'run'));
  const copy = (from: string, to: string): void => copyFileSync(join(folder, 'bundle/default_client', from), join(folder, to));
  for (const name of ['any.pcap', 'lo.pcap', 'web.pcap']) copy('packets.pcap', name);
  copy('iptables-save.end.txt', 'rules.txt');
  copy('config_dump.end.json', 'dump.json');
  copy('clusters.end.json', 'clusters.json');
  copy('conntrack.ipv4.end.txt', 'ct.txt');
  copy('sockets.end.txt', 'sockets.txt');
  const pcapng = run(['replay', join(folder, 'lo.pcap'), '-o', 'pcapng', '--output', join(folder, 'eth0.pcapng')]);
  assert.equal(pcapng.code, 0, pcapng.err);
  writeFileSync(join(folder, 'eth0.pcapng.gz'), gzipSync(readFileSync(join(folder, 'eth0.pcapng'))));
  writeFileSync(join(folder, 'packets.jsonl'), `${JSON.stringify(batch)}\n`);
  mkdirSync(join(folder, '.config/fish/completions'), { recursive: true });
  mkdirSync(programs);
  const program = (name: string, line: string): void => {
    writeFileSync(join(programs, name), `#!/bin/sh\n${line}\n`);
    chmodSync(join(programs, name), 0o755);
  };
  program('sidetrace', `exec "${process.execPath}" "${main}" "$@"`);
  program('npx', 'exec "$@"');
  for (const [name, file] of Object.entries(recorded)) program(name, `exec cat "${join(folder, file)}"`);
});

/** Commands of a text: lines that run sidetrace, without the words beside them. */
function commandsIn(text: string): string[] {
  return text
    .split('\n')
    .map((line) =>
      line
        .trim()
        .replace(/^\$ /, '')
        .replace(/\s+#.*$/, '')
        .replace(/ {2,}.*$/, ''),
    )
    .filter((line) => /^(npx sidetrace|sidetrace|source <\(sidetrace|[a-z-]+ [^|`]*\| sidetrace) [a-z]/.test(line));
}

/** Lines of a page that stand as code of their own. */
function codeOf(page: string): string {
  const text = readFileSync(page, 'utf8');
  const fenced = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  return [...fenced, ...text.split('\n').filter((line) => line.startsWith('    '))].join('\n');
}

/** What asks this machine, a probe or a daemon is tried in its own tests, with one there. */
const live = /\bsidetrace (doctor|record|daemon|observe|status)\b|\bsidetrace (rules|listeners|envoy|explain) .*--pod |--live |--server /;

async function printedCommands(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const page of ['README.md', 'docs/cli.md', 'docs/bundle.md', 'captures/README.md', 'captures/bookinfo/README.md'])
    if (existsSync(page)) found.set(page, commandsIn(codeOf(page)));
  found.set('sidetrace --help', commandsIn(run(['--help']).out.split('\nExamples:')[1]!));
  for (const { name } of commands)
    found.set(`sidetrace ${name} --help`, commandsIn(run([name, '--help']).out.split('\nExamples:')[1] ?? ''));
  return found;
}

test('every command that a page or a help text prints works as it is printed', here, async (t) => {
  const printed = await printedCommands();
  assert.ok(
    printed.get('README.md')!.length >= 8 &&
      printed.get('docs/cli.md')!.length >= 15 &&
      printed.get('sidetrace replay --help')!.length >= 6,
  );
  const done = new Set<string>();
  for (const [page, lines] of printed)
    for (const line of lines) {
      if (done.has(line) || live.test(line)) continue;
      done.add(line);
      await t.test(`${page}: ${line}`, () => {
        const { status, stdout, stderr } = spawnSync('bash', ['-c', `fpath=(. .)\nset -o pipefail\n${line}`], {
          cwd: folder,
          encoding: 'utf8',
          maxBuffer: 64 * 1024 * 1024,
          env: { PATH: `${programs}:${process.env.PATH}`, HOME: folder },
        });
        assert.equal(stderr, '');
        assert.equal(status, 0);
        if (!/--output|completion/.test(line)) assert.ok(stdout.length > 40, stdout);
      });
    }
});
