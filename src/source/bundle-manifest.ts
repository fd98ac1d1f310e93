/**
 * bundle.json: what a recorder read, of which network namespaces, when, and what it could not read.
 *
 * The head is judged strictly; a namespace that does not fit is left out with a sentence, and the others stand. Fields that are not known are left alone.
 */
import * as v from 'valibot';
import { CaptureFileError } from './capture-file-error.ts';

export const BUNDLE_FORMAT = 'sidetrace-bundle';
export const BUNDLE_VERSION = 1;

const NAMESPACE_LIMIT = 4096;
const FILE_LIMIT = 4096;
const TEXT_LIMIT = 4096;

const text = v.pipe(v.string(), v.maxLength(TEXT_LIMIT));

const fileSchema = v.object({
  /** `packets`, `iptables-save`, `config_dump`, …; a kind may come several times: snapshots of a world that changed. */
  kind: text,
  family: v.exactOptional(v.picklist(['ipv4', 'ipv6'])),
  /** `same`: as the snapshot before; `empty`: read, and there is nothing; `failed`: see `reason`. */
  status: v.picklist(['ok', 'same', 'empty', 'failed']),
  /** Name within the folder of the namespace. */
  file: v.exactOptional(text),
  /** RFC 3339. */
  readAt: v.exactOptional(text),
  reason: v.exactOptional(text),
});

const namespaceSchema = v.object({
  /** Folder of the namespace within the bundle. */
  path: text,
  /** The namespace as the node names it. */
  netns: text,
  pod: v.exactOptional(v.object({ namespace: text, name: text, uid: text })),
  interfaces: v.optional(
    v.pipe(
      v.array(
        v.object({
          index: v.pipe(v.number(), v.integer(), v.minValue(0)),
          name: text,
          addresses: v.optional(v.pipe(v.array(text), v.maxLength(FILE_LIMIT)), []),
        }),
      ),
      v.maxLength(FILE_LIMIT),
    ),
    [],
  ),
  files: v.pipe(v.array(fileSchema), v.maxLength(FILE_LIMIT)),
});

const lostSchema = v.object({
  source: v.optional(text, 'recorder'),
  count: v.optional(v.pipe(v.number(), v.minValue(0)), 1),
  exact: v.optional(v.boolean(), false),
  detail: v.exactOptional(text),
});

const headSchema = v.object({
  format: v.literal(BUNDLE_FORMAT),
  version: v.literal(BUNDLE_VERSION),
  node: text,
  begun: v.exactOptional(text),
  ended: v.exactOptional(text),
  recorder: v.exactOptional(text),
  clock: v.exactOptional(v.object({ realtime: v.exactOptional(text), boot: v.exactOptional(text) })),
  tools: v.optional(v.record(text, text), {}),
  lost: v.optional(v.pipe(v.array(lostSchema), v.maxLength(FILE_LIMIT)), []),
  namespaces: v.pipe(v.array(v.unknown()), v.maxLength(NAMESPACE_LIMIT)),
});

export type BundleFile = v.InferOutput<typeof fileSchema>;
export type NamespaceEntry = v.InferOutput<typeof namespaceSchema>;
export type BundleManifest = Omit<v.InferOutput<typeof headSchema>, 'namespaces'> & { namespaces: NamespaceEntry[] };

/** The first thing that does not fit, as `namespaces.0.files: a string is wanted …`. */
function issueText(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  return `${path === null ? '' : `"${path}": `}${issue.expected ?? 'another value'} is wanted, it is ${issue.received}`;
}

/**
 * @param path the bundle, for messages
 * @param warn is told of each namespace that was left out
 * @throws {CaptureFileError} BUNDLE_MANIFEST when it is no JSON, or not the manifest of a bundle of this version
 */
export function parseManifest(json: string, path: string, warn: (detail: string) => void): BundleManifest {
  const bad = (state: string) =>
    new CaptureFileError('BUNDLE_MANIFEST', `Cannot read "bundle.json" of "${path}": ${state}`, { path, offset: 0 });
  let value: unknown;
  try {
    // null is absent
    value = JSON.parse(json, (_key, given) => given ?? undefined);
  } catch (error) {
    throw bad(`JSON is wanted, it says: ${error instanceof Error ? error.message.slice(0, TEXT_LIMIT) : ''}`);
  }
  const head = v.safeParse(headSchema, value);
  if (!head.success) throw bad(issueText(head.issues[0]));
  const namespaces: NamespaceEntry[] = [];
  head.output.namespaces.forEach((given, i) => {
    const parsed = v.safeParse(namespaceSchema, given);
    if (parsed.success) namespaces.push(parsed.output);
    else warn(`Cannot take namespace ${i} of "bundle.json" of "${path}": ${issueText(parsed.issues[0])}`);
  });
  return { ...head.output, namespaces };
}
