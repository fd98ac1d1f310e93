/**
 * A bundle without packets (docs/bundle.md) of namespaces that a daemon follows, as a tar archive that is made while it is read: one file at a time is in memory.
 *
 * What cannot be read is in bundle.json as `failed`, with the reason. Secrets are hidden (secrets.ts), of Kubernetes only what sidetrace reads itself goes along.
 */
import type { KubeNames } from '../../kube/names.ts';
import { BUNDLE_FORMAT, BUNDLE_VERSION, type BundleFile, type NamespaceEntry } from '../../source/bundle-manifest.ts';
import { type AskedEnvoy, envoyEvidence, listens } from './envoy-evidence.ts';
import { type EvidenceFile, type EvidenceText, evidenceName, fileOfText } from './evidence-file.ts';
import { kubeFiles } from './kube-json.ts';
import { hideSecrets } from './secrets.ts';
import { tarEnd, tarHeader, tarPadding } from './tar-entry.ts';

/** What is asked of a followed namespace. */
export interface EvidenceNamespace {
  readonly cookie: bigint;
  readonly netns: string;
  readonly status: 'opening' | 'capturing' | 'failed' | 'gone';
  readonly reason?: string;
  readonly world: {
    readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
    readonly interfaces: readonly { readonly index: number; readonly name: string; readonly addresses: readonly string[] }[];
  };
  readTexts(): Promise<readonly EvidenceText[]>;
  /** Hands on every FRAMES payload until it is told to stop. */
  tap(listener: (framesPayload: Uint8Array) => void): () => void;
}

export interface EvidenceSources {
  readonly node: string;
  readonly version: string;
  /** Every namespace that is followed now. */
  namespaces(): readonly EvidenceNamespace[];
  /** The Envoy in a namespace, where there is one. */
  envoyOf(namespace: EvidenceNamespace): AskedEnvoy | undefined;
  names(): KubeNames;
  /** Unix time, milliseconds. */
  now(): number;
}

const rfc3339 = (ms: number): string => new Date(ms).toISOString();

/** @param signal ends it early; the archive is cut then */
export async function* evidenceArchive(
  sources: EvidenceSources,
  namespaces: readonly EvidenceNamespace[],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const begun = rfc3339(sources.now());
  const modified = Math.floor(sources.now() / 1000);
  const entries: NamespaceEntry[] = [];
  const paths = new Set<string>();
  const file = (name: string, bytes: Uint8Array): Uint8Array[] => [
    tarHeader({ name, length: bytes.length, modified }),
    bytes,
    tarPadding(bytes.length),
  ];
  for (const namespace of namespaces) {
    const path = freePath(namespace, paths);
    const files: BundleFile[] = [];
    for await (const reading of readings(sources, namespace)) {
      if (signal.aborted) return;
      const { bytes, status, ...about } = reading;
      if (status === 'ok' && bytes !== undefined) {
        const name = evidenceName(reading);
        files.push({ ...about, status, file: name });
        yield* file(`${path}/${name}`, bytes);
      } else files.push({ ...about, status: status === 'ok' ? 'empty' : status });
    }
    const { netns, world } = namespace;
    entries.push({
      path,
      netns,
      ...(world.pod === undefined ? {} : { pod: { ...world.pod } }),
      interfaces: world.interfaces.map(({ index, name, addresses }) => ({ index, name, addresses: [...addresses] })),
      files,
    });
  }
  for (const [name, bytes] of Object.entries(kubeFiles(sources.names()) ?? {})) yield* file(name, bytes as Uint8Array);
  const manifest = {
    format: BUNDLE_FORMAT,
    version: BUNDLE_VERSION,
    node: sources.node,
    begun,
    ended: rfc3339(sources.now()),
    recorder: `sidetrace daemon ${sources.version}`,
    namespaces: entries,
  };
  yield* file('bundle.json', Buffer.from(`${JSON.stringify(manifest, undefined, 1)}\n`));
  yield tarEnd;
}

/** The kernel's side first: it changes faster. */
async function* readings(sources: EvidenceSources, namespace: EvidenceNamespace): AsyncGenerator<EvidenceFile, void, undefined> {
  let sockets: string | undefined;
  for (const text of await namespace.readTexts()) {
    if (text.kind === 'sockets') sockets = text.text;
    const reading = fileOfText(text);
    if (reading.bytes !== undefined) await hideSecrets(reading.bytes);
    yield reading;
  }
  const envoy = sources.envoyOf(namespace);
  // sockets that could not be read do not say that nobody listens
  if (envoy !== undefined && (sockets === undefined || listens(sockets, envoy.ports)))
    yield* envoyEvidence(envoy, () => rfc3339(sources.now()));
}

function freePath({ netns, world }: EvidenceNamespace, taken: Set<string>): string {
  const wanted = world.pod === undefined ? netns : `${world.pod.namespace}_${world.pod.name}`;
  const bare =
    wanted
      .replaceAll(/[^\w.-]/g, '_')
      .replace(/^\.+/, '_')
      .slice(0, 80) || 'namespace';
  let path = bare;
  for (let i = 2; taken.has(path); i++) path = `${bare}.${i}`;
  taken.add(path);
  return path;
}
