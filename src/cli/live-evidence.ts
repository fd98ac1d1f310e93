/** The live forms of the commands that look into a bundle: a pod that a daemon follows, by the evidence that it reads now. */
import type { Command } from 'commander';
import { askPods } from './daemon-answers.ts';
import { DaemonRefusal } from './daemon-http.ts';
import { InputError, UsageError } from './failure.ts';
import { type FetchedEvidence, fetchEvidence } from './fetch-evidence.ts';
import { addServerOptions, parseServer, type Server, type ServerOptions } from './server-options.ts';

const NAMES_SHOWN = 20;

export interface LiveOptions extends ServerOptions {
  readonly pod?: string[];
}

/** Adds `--pod`, and the options that say which daemon. */
export function addLiveOptions(command: Command): Command {
  const option = command.createOption(
    '--pod <POD>',
    'live: this pod of the daemon, [NAMESPACE/]NAME or a beginning that fits one; or a network namespace',
  );
  option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
  option.helpGroup('Which daemon:');
  command.addOption(option);
  return addServerOptions(command);
}

/** Is a live pod asked for? */
export function isLive(options: LiveOptions): boolean {
  return options.pod !== undefined || options.server !== undefined;
}

/** The one pod of a command that looks at one. @throws {UsageError} for none or several */
export function onePod(options: LiveOptions, subject: string | undefined): string {
  if (subject !== undefined) throw new UsageError(`Cannot look at "${subject}" and at a live pod: give BUNDLE/POD, or --pod`);
  const pods = options.pod ?? [];
  if (pods.length !== 1) throw new UsageError(`Cannot look at ${pods.length} live pods: one is wanted (--pod [NAMESPACE/]NAME)`);
  return pods[0]!;
}

interface Listed {
  readonly netns: string;
  readonly pod: string | undefined;
}

/** The path of a live pod's routes. @throws {UsageError} when none or several fit, naming those there are */
export async function livePath(server: Server, wanted: string): Promise<string> {
  let listed: Listed[];
  try {
    listed = await listPods(server);
  } catch (error) {
    // Who may not see the list may still be given what it names in full.
    if (!(error instanceof DaemonRefusal) || error.status !== 403 || !wanted.includes('/')) throw error;
    return `/v1/pods/${wanted.split('/').map(encodeURIComponent).join('/')}`;
  }
  const short = (name: string): string => (wanted.includes('/') ? name : name.slice(name.indexOf('/') + 1));
  const exact = listed.filter(({ netns, pod }) => netns === wanted || (pod !== undefined && short(pod) === wanted));
  const fitting = exact.length > 0 ? exact : listed.filter(({ pod }) => pod !== undefined && short(pod).startsWith(wanted));
  const [first] = fitting;
  if (first !== undefined && fitting.length === 1) return `/v1/netns/${encodeURIComponent(first.netns)}`;
  const names = (fitting.length === 0 ? listed : fitting).map(({ netns, pod }) => `  ${pod ?? netns}`).sort();
  const more = names.length > NAMES_SHOWN ? `\n  and ${names.length - NAMES_SHOWN} more` : '';
  throw new UsageError(
    `Cannot choose a pod of "${server.name}" by "${wanted}": one is wanted, ${fitting.length === 0 ? 'none is called so' : `${fitting.length} fit`}. There are:\n${names.slice(0, NAMES_SHOWN).join('\n')}${more}`,
  );
}

async function listPods(server: Server): Promise<Listed[]> {
  const value = await askPods(server);
  if (!Array.isArray(value)) throw new InputError(`Cannot read the pods of "${server.name}": a list is wanted, it is none`);
  return value.flatMap((given): Listed[] => {
    const { netns, pod, state } = (given ?? {}) as { netns?: unknown; pod?: { namespace?: unknown; name?: unknown }; state?: unknown };
    if (typeof netns !== 'string' || state === 'gone') return [];
    return [{ netns, pod: pod === undefined ? undefined : `${String(pod.namespace)}/${String(pod.name)}` }];
  });
}

/**
 * Fetches the evidence of live pods, all that the daemon follows where none is named, and hands the paths of the archives on; they are removed when `use` has ended.
 * @throws as {@link livePath} and {@link fetchEvidence}
 */
export async function withLiveEvidence<T>(options: LiveOptions, pods: readonly string[], use: (paths: readonly string[]) => T): Promise<T> {
  const server = parseServer(options);
  const fetched: FetchedEvidence[] = [];
  try {
    if (pods.length === 0) fetched.push(await fetchEvidence(server, '/v1/evidence'));
    for (const pod of pods) fetched.push(await fetchEvidence(server, `${await livePath(server, pod)}/evidence`));
    return use(fetched.map(({ path }) => path));
  } finally {
    for (const one of fetched) one.remove();
  }
}
