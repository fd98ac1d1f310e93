/** The network namespace that a command looks at: a pod of a bundle, or what the file flags give. */
import { KubeNames } from '../kube/names.ts';
import { type KubeObjects, parseKubeObjects } from '../kube/objects.ts';
import { canonicalIp } from '../net/address.ts';
import type { TimeBase } from '../net/time.ts';
import { parseRfc3339 } from '../net/time.ts';
import { type Bundle, snapshotsOf } from '../source/bundle.ts';
import type { NamespaceEntry } from '../source/bundle-manifest.ts';
import { openInput } from '../source/input.ts';
import { expandRecording } from '../source/recording.ts';
import { readWholeFile, textOf } from '../source/whole-bytes.ts';
import { RecordedWorld, readingLimit, snapshotFile, type WorldFile } from '../world/build.ts';
import { complain, InputError, UsageError } from './failure.ts';
import type { NamedFile } from './file-options.ts';
import { splitSubject } from './subject.ts';

/** Times in a world are nanoseconds since a base; commands that look at one moment need no other. */
export const base: TimeBase = { epochSeconds: 0 };

/** Later than anything that was read: the state at the end of a recording. */
export const atEnd = Number.MAX_SAFE_INTEGER;

const kubeKinds: ReadonlySet<string> = new Set(['pods', 'services', 'endpointslices']);
const familyOf: { readonly [kind: string]: 'ipv4' | 'ipv6' } = { 'iptables-save': 'ipv4', 'ip6tables-save': 'ipv6' };

/** The text of a file, or of standard input (`-`), unpacked where it is packed. @throws {InputError} when it cannot be read, or is longer than is read */
export function readText(path: string, kind = ''): string {
  return textOf(readBytes(path, kind));
}

function readBytes(path: string, kind: string): Uint8Array {
  const { bytes, fault } = readWholeFile(path, readingLimit(kind));
  if (fault !== undefined) throw new InputError(fault);
  return bytes;
}

function worldFile({ kind, path }: NamedFile): WorldFile {
  const family = familyOf[kind];
  return { kind, name: path, ...(family === undefined ? {} : { family }), read: () => readBytes(path, kind) };
}

/** The world of files given by flags. */
export function worldOfFiles(files: readonly NamedFile[], addresses: readonly string[] = []): RecordedWorld {
  const given = files.filter(({ kind }) => !kubeKinds.has(kind)).map(worldFile);
  return new RecordedWorld(
    { node: '', netns: 'files', interfaces: [] },
    given,
    new KubeNames(...kubeObjects([], files)),
    base,
    addresses.map((address) => canonicalIp(address) ?? address),
  );
}

/** A namespace of a recording: its world, and how people call it. */
export interface NamedWorld {
  readonly name: string;
  /** Folder of the namespace within its bundle. */
  readonly folder: string;
  readonly world: RecordedWorld;
}

/**
 * The worlds of all namespaces of these recordings, with files given beside them. Nothing of them is read before it is asked for, save pods and services.
 *
 * @throws {UsageError} when one of them is a capture
 */
export function worldsOf(recordings: readonly string[], files: readonly NamedFile[]): NamedWorld[] {
  const bundles: Bundle[] = [];
  for (const path of recordings.flatMap(expandRecording)) {
    const input = openInput(path);
    if (input.kind !== 'bundle') {
      input.source.close();
      throw new UsageError(`Cannot look into "${path}": a bundle is wanted, it is a capture`);
    }
    bundles.push(input.bundle);
  }
  const names = new KubeNames(...kubeObjects(bundles, files));
  const worlds = bundles.flatMap((bundle) => bundle.manifest.namespaces.map((entry) => namedWorld(bundle, entry, files, names)));
  for (const bundle of bundles) for (const { detail } of bundle.losses) complain(detail);
  return worlds;
}

function kubeObjects(bundles: readonly Bundle[], files: readonly NamedFile[]): KubeObjects[] {
  const objects: KubeObjects[] = [];
  for (const bundle of bundles)
    for (const { name, bytes } of bundle.kubeFiles()) objects.push(parseKubeObjects(bytes, `${bundle.name}/${name}`));
  for (const { kind, path } of files) if (kubeKinds.has(kind)) objects.push(parseKubeObjects(readBytes(path, kind), path));
  return objects;
}

function namedWorld(bundle: Bundle, entry: NamespaceEntry, files: readonly NamedFile[], names: KubeNames): NamedWorld {
  const given = files.filter(({ kind }) => !kubeKinds.has(kind));
  const replaced = new Set<string>(given.map(({ kind }) => kind));
  const recorded = snapshotsOf(entry)
    .filter(({ kind, status }) => status !== 'failed' && !replaced.has(kind))
    .map((snapshot) => snapshotFile(snapshot, (path, limit) => bundle.readBytes(path, { limit })));
  const scope = {
    node: bundle.manifest.node,
    netns: entry.netns,
    interfaces: entry.interfaces,
    ...(entry.pod === undefined ? {} : { pod: entry.pod }),
  };
  const name = entry.pod === undefined ? entry.netns : `${entry.pod.namespace}/${entry.pod.name}`;
  return { name, folder: entry.path, world: new RecordedWorld(scope, [...recorded, ...given.map(worldFile)], names, base) };
}

/** The worlds whose pod is called so: by name, `namespace/name`, namespace or folder; else those whose name begins so. Every world without a name. */
export function worldsNamed(worlds: readonly NamedWorld[], pod: string | undefined): NamedWorld[] {
  if (pod === undefined) return [...worlds];
  const short = (name: string): string => (pod.includes('/') ? name : name.slice(name.indexOf('/') + 1));
  const exact = worlds.filter(({ name, folder, world }) => short(name) === pod || world.netns === pod || folder === pod);
  return exact.length > 0 ? exact : worlds.filter(({ name }) => short(name).startsWith(pod));
}

/** The one among them. @throws {UsageError} when there is none or several, naming those there are */
export function oneWorld(fitting: readonly NamedWorld[], all: readonly NamedWorld[], asked: string): RecordedWorld {
  const [first] = fitting;
  if (first !== undefined && fitting.length === 1) return first.world;
  const names = (fitting.length === 0 ? all : fitting).map(({ name }) => `  ${name}`).sort();
  const state = fitting.length === 0 ? 'none is called so' : `${fitting.length} fit`;
  throw new UsageError(`Cannot choose a pod of "${asked}": one is wanted (BUNDLE/POD), ${state}. There are:\n${names.join('\n')}`);
}

/** The world of one pod of a bundle: `node-a.tar.gz/default/client`, `captures/bookinfo/client`. */
export function worldOfSubject(subject: string, files: readonly NamedFile[]): RecordedWorld {
  const { path, pod } = splitSubject(subject);
  const worlds = worldsOf([path], files);
  return oneWorld(worldsNamed(worlds, pod), worlds, subject);
}

/** Milliseconds of the epoch of a moment of a world: the end of what was read of Envoy, else now is not known and 0 stands for it. */
export function endMs(readAt: string | undefined): number {
  const at = readAt === undefined ? undefined : parseRfc3339(readAt);
  return at === undefined ? 0 : at.seconds * 1000 + Math.ceil(at.nanoseconds / 1e6);
}

/** How people call what they look at. */
export function worldName(world: RecordedWorld): string {
  return world.pod === undefined ? world.netns : `${world.pod.namespace}/${world.pod.name}${world.node === '' ? '' : ` on ${world.node}`}`;
}
