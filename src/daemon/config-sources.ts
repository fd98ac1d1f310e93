/** Reads the daemon's configuration: a YAML file, then the environment, then flags, each over the one before. Whatever does not fit is named: where it stands, the key, the value, the wish. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { configSchema, type DaemonConfig, isLocal, type Setting, settings } from './config.ts';

export const CONFIG_FILE = '/etc/sidetrace/config.yaml';
const FILE_LIMIT = 1024 * 1024;
const ISSUE_LIMIT = 20;
const SHOWN_LENGTH = 120;
/** What clients and tests read, and what Kubernetes tells of services: SIDETRACE_SERVICE_HOST, SIDETRACE_PORT_4280_TCP … */
const NOT_OURS = /^SIDETRACE_(SERVER|TOKEN|FUZZ|REFERENCE)$|_SERVICE_(HOST|PORT)|_PORT(_\d+|$)/;

/** A configuration that cannot be used; each line of the message is one fault. */
export class ConfigError extends SyntaxError {
  override readonly name = 'ConfigError';
}

export interface ConfigSources {
  /** A file that must be there; undefined: /etc/sidetrace/config.yaml where there is one. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Values of flags by key: `{'log.level': 'debug'}`. */
  readonly flags: Readonly<Record<string, string | undefined>>;
}

export interface ReadConfig {
  readonly config: DaemonConfig;
  /** The file that was read. */
  readonly file?: string;
  /** Sentences about what has no effect. */
  readonly warnings: readonly string[];
}

type Tree = { [key: string]: unknown };

/** Where each key's value was found, for messages. */
type Places = Map<string, string>;

export function readConfig(sources: ConfigSources): ReadConfig {
  const faults: string[] = [];
  const warnings: string[] = [];
  const places: Places = new Map();
  const file = readFile(sources.file);
  const tree: Tree = file === undefined ? {} : readYaml(file.name, file.text, places, faults);
  for (const setting of settings) {
    for (const [value, place] of [
      [sources.environment[setting.environment], setting.environment],
      [sources.flags[setting.key], setting.flag],
    ] as const) {
      if (value === undefined) continue;
      put(tree, setting.key, value);
      places.set(setting.key, place);
    }
  }
  const known = new Set(settings.map((setting) => setting.environment));
  for (const name of Object.keys(sources.environment)) {
    if (name.startsWith('SIDETRACE_') && !known.has(name) && !NOT_OURS.test(name))
      warnings.push(`The environment names "${name}", which is no setting: it has no effect`);
  }
  const parsed = v.safeParse(configSchema, tree);
  for (const issue of parsed.issues ?? []) faults.push(faultOf(issue as v.BaseIssue<unknown>, places, file?.name));
  if (parsed.success) faults.push(...contradictions(parsed.output, places));
  if (!parsed.success || faults.length > 0) throw new ConfigError(summary(faults));
  return { config: parsed.output, ...(file === undefined ? {} : { file: file.name }), warnings };
}

/** Which keys differ, and which of those take effect only after a restart. */
export function compareConfigs(
  before: DaemonConfig,
  after: DaemonConfig,
): { readonly reloaded: readonly Setting[]; readonly restart: readonly Setting[] } {
  const changed = settings.filter(({ key }) => JSON.stringify(get(before, key)) !== JSON.stringify(get(after, key)));
  return { reloaded: changed.filter((setting) => setting.reload), restart: changed.filter((setting) => !setting.reload) };
}

/** The value of a key as it would be written in a flag. */
export function settingValue(config: DaemonConfig, key: string): string {
  return String(get(config, key));
}

function readFile(wanted: string | undefined): { name: string; text: string } | undefined {
  const name = wanted ?? CONFIG_FILE;
  try {
    const bytes = readFileSync(name);
    if (bytes.length > FILE_LIMIT)
      throw new ConfigError(`Cannot read the configuration "${name}": at most ${FILE_LIMIT} bytes are wanted, it has ${bytes.length}`);
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'no UTF-8';
    if (wanted === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined;
    throw new ConfigError(`Cannot read the configuration "${name}": a file of YAML text is wanted, the system says ${code}`);
  }
}

function readYaml(name: string, text: string, places: Places, faults: string[]): Tree {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, maxAliasCount: 0, merge: false, prettyErrors: false } as Parameters<
    typeof parseDocument
  >[1]);
  const at = (offset: number) => `${name}:${lines.linePos(offset).line}`;
  for (const error of document.errors) faults.push(`${at(error.pos[0])}: YAML is wanted: ${error.message}`);
  if (faults.length > 0) throw new ConfigError(summary(faults));
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return {};
  if (!isMap(root)) throw new ConfigError(`${name}: keys with values are wanted, as "log: {level: info}"`);
  mark(root, '', places, at, 0);
  try {
    return JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: 0 }))) as Tree;
  } catch (error) {
    throw new ConfigError(
      `Cannot read the configuration "${name}": plain keys and values without aliases are wanted: ${(error as Error).message}`,
    );
  }
}

/** Notes the line of every key. */
function mark(map: unknown, path: string, places: Places, at: (offset: number) => string, depth: number): void {
  if (!isMap(map) || depth > 8) return;
  for (const { key, value } of map.items) {
    if (!isNode(key)) continue;
    const name = path + String(isScalar(key) ? key.value : key);
    places.set(name, at(key.range?.[0] ?? 0));
    mark(value, `${name}.`, places, at, depth + 1);
  }
}

function put(tree: Tree, key: string, value: string): void {
  const parts = key.split('.');
  let at = tree;
  for (const part of parts.slice(0, -1)) {
    const inner = Object.hasOwn(at, part) ? at[part] : undefined;
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) at[part] = {};
    at = at[part] as Tree;
  }
  at[parts.at(-1)!] = value;
}

function get(config: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((at, part) => (at as Tree)[part], config);
}

function faultOf(issue: v.BaseIssue<unknown>, places: Places, file: string | undefined): string {
  const key = v.getDotPath(issue) ?? '';
  const place = places.get(key) ?? file ?? 'configuration';
  if (issue.type === 'strict_object' && issue.expected === 'never') return `${place}: the key "${key}" is not known${suggestion(key)}`;
  const wish = issue.type === 'strict_object' ? 'keys with values' : issue.message;
  return `${place}: "${key}" is ${shown(issue.input)}: ${wish} is wanted`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

/** The key that was probably meant: the same letters, or the same last part elsewhere. */
function suggestion(key: string): string {
  const plain = (name: string) => name.toLowerCase().replace(/[^a-z.]/g, '');
  const last = plain(key).split('.').at(-1);
  const found =
    settings.find((setting) => plain(setting.key) === plain(key)) ??
    settings.find((setting) => plain(setting.key).split('.').at(-1) === last);
  return found === undefined ? '' : `; "${found.key}" is`;
}

/** What fits alone and not together. */
function* contradictions({ stream, kubernetes }: DaemonConfig, places: Places): Generator<string> {
  const place = (key: string) => places.get(key) ?? 'configuration';
  const { tls, auth } = stream;
  if ((tls.cert === '') !== (tls.key === ''))
    yield `${place(tls.cert === '' ? 'stream.tls.key' : 'stream.tls.cert')}: "stream.tls.cert" and "stream.tls.key" are wanted together, one is set`;
  if (tls.clientCa !== '' && tls.cert === '')
    yield `${place('stream.tls.clientCa')}: "stream.tls.clientCa" has no meaning without "stream.tls.cert" and "stream.tls.key"`;
  const open = stream.listen.filter((address) => !isLocal(address));
  if (open.length > 0 && tls.cert === '')
    yield `${place('stream.listen')}: "stream.listen" names "${open[0]}", which others reach: "stream.tls.cert" and "stream.tls.key" are wanted with it`;
  if (open.length > 0 && tls.clientCa === '' && auth.tokens === '' && auth.kubernetes.audience === '')
    yield `${place('stream.listen')}: "stream.listen" names "${open[0]}", which others reach: one of "stream.tls.clientCa", "stream.auth.tokens", "stream.auth.kubernetes.audience" is wanted with it`;
  if (auth.kubernetes.audience !== '' && (kubernetes.source === 'none' || kubernetes.source === 'files'))
    yield `${place('stream.auth.kubernetes.audience')}: "stream.auth.kubernetes.audience" asks the API server, "kubernetes.source" is "${kubernetes.source}": another source is wanted`;
  if (kubernetes.source === 'files' && kubernetes.files.pods === '')
    yield `${place('kubernetes.source')}: "kubernetes.source" is "files": "kubernetes.files.pods" is wanted with it`;
}

function summary(faults: readonly string[]): string {
  const more = faults.length > ISSUE_LIMIT ? [`… and ${faults.length - ISSUE_LIMIT} more`] : [];
  return [...faults.slice(0, ISSUE_LIMIT), ...more].join('\n');
}
