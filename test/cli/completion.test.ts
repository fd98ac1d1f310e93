import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { installed, run, shell } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-completion-'));
after(() => rmSync(folder, { recursive: true }));

const needs = (program: string) => ({
  skip: installed(program) ? false : `SKIPPED: ${program} is not installed (apt-get install ${program})`,
});

function script(name: string): string {
  const path = join(folder, `sidetrace.${name}`);
  const { code, out } = run(['completion', name]);
  assert.equal(code, 0);
  writeFileSync(path, out);
  return path;
}

for (const name of ['bash', 'zsh', 'fish'])
  test(`${name} reads the completion script without a complaint`, needs(name), () => {
    const { code, err } = shell(`${name} -n ${script(name)}`, 'sh');
    assert.equal(err, '');
    assert.equal(code, 0);
  });

test('bash completes commands, flags and values', needs('bash'), () => {
  const complete = (...words: string[]): string[] =>
    shell(
      `source ${script('bash')}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _sidetrace; printf '%s\\n' "\${COMPREPLY[@]}"`,
    )
      .out.split('\n')
      .filter((word) => word !== '');
  assert.deepEqual(complete('sidetrace', 'rep'), ['replay']);
  assert.ok(complete('sidetrace', 'replay', '--from-p').includes('--from-pod'));
  assert.deepEqual(complete('sidetrace', 'replay', '-o', 'js'), ['json']);
  assert.deepEqual(
    complete('sidetrace', 'envoy', 'cha').filter((word) => word === 'chains'),
    ['chains'],
  );
  assert.deepEqual(complete('sidetrace', 'replay', '--color', 'n'), ['never']);
});

test('fish completes commands and flags', needs('fish'), () => {
  const complete = (line: string): string => shell(`fish --no-config -c 'source ${script('fish')}; complete -C "${line}"'`, 'sh').out;
  assert.match(complete('sidetrace rep'), /^replay\t/m);
  assert.match(complete('sidetrace replay --http-'), /--http-status/);
});

test('zsh defines the completion', needs('zsh'), () => {
  const { out, err } = shell(
    `zsh -f -c 'autoload -U compinit; compinit -u -d ${folder}/dump; source ${script('zsh')}; print -r -- $_comps[sidetrace]'`,
    'sh',
  );
  assert.equal(err, '');
  assert.equal(out.trim(), '_sidetrace');
});
