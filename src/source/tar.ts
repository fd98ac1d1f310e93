/**
 * The index of a tar archive: names of its regular files and where their bytes lie. Nothing is unpacked.
 *
 * Out     names without `.` and without a leading `./`; of a name that comes twice the later one counts, as tar unpacks it.
 *         Absolute names, names with `..`, links, devices and sparse files are refused, each with a sentence; the rest is taken.
 * Source  POSIX.1-2017 pax "ustar Interchange Format" and "pax Header Block"; GNU tar "Basic Tar Format" (long names, base-256 sizes).
 */
import type { StoredBytes } from './stored-bytes.ts';

const BLOCK = 512;
const ENTRY_LIMIT = 100_000;
const REFUSED_LIMIT = 100;
const NAME_LIMIT = 4096;
/** Long names and pax headers are no longer than this. */
const EXTENSION_LIMIT = 64 * 1024;

export interface TarEntry {
  readonly offset: number;
  readonly length: number;
}

export interface TarIndex {
  readonly entries: ReadonlyMap<string, TarEntry>;
  /** What was not taken, and why: a sentence each. */
  readonly refused: readonly string[];
  /** Why the archive could not be read to its end, where it could not. */
  readonly fault: string | undefined;
}

const decoder = new TextDecoder();

function text(block: Uint8Array, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const nul = field.indexOf(0);
  return decoder.decode(nul === -1 ? field : field.subarray(0, nul));
}

/** Octal digits, or GNU's base-256 with the highest bit set; undefined when it is neither. */
function number(block: Uint8Array, at: number, length: number): number | undefined {
  const first = block[at]!;
  if ((first & 0x80) !== 0) {
    let value = first & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + block[at + i]!;
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = text(block, at, length).trim();
  if (digits === '') return 0;
  return /^[0-7]{1,17}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** Is this the first block of a tar archive? Judged by its checksum, so that archives older than POSIX are known too. */
export function isTar(block: Uint8Array): boolean {
  if (block.length < BLOCK || block[0] === 0) return false;
  const wanted = number(block, 148, 8);
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : block[i]!;
  return sum === wanted;
}

/** The name in plain parts, or why it is refused. */
function safeName(name: string): { name: string } | { refused: string } {
  if (name.length > NAME_LIMIT) return { refused: `a name of at most ${NAME_LIMIT} characters is wanted, it has ${name.length}` };
  if (name.startsWith('/')) return { refused: 'a relative name is wanted, it is absolute' };
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return { refused: 'a name within the archive is wanted, it climbs with ".."' };
  return { name: parts.join('/') };
}

/** Records of a pax header: `length key=value\n`. */
function paxRecords(bytes: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    if (space === -1) break;
    const length = Number(decoder.decode(bytes.subarray(at, space)));
    if (!Number.isInteger(length) || length <= space - at || at + length > bytes.length) break;
    const record = decoder.decode(bytes.subarray(space + 1, at + length - 1));
    const equals = record.indexOf('=');
    if (equals > 0) records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

const refusedKinds: ReadonlyMap<string, string> = new Map([
  ['1', 'a hard link'],
  ['2', 'a symbolic link'],
  ['3', 'a character device'],
  ['4', 'a block device'],
  ['6', 'a pipe'],
  ['S', 'a sparse file'],
]);

export function indexTar(stored: StoredBytes): TarIndex {
  const entries = new Map<string, TarEntry>();
  const refused: string[] = [];
  const refuse = (name: string, why: string) => {
    if (refused.length < REFUSED_LIMIT) refused.push(`Cannot take "${name}" from "${stored.name}": ${why}`);
  };
  const stop = (at: number, state: string): TarIndex => ({
    entries,
    refused,
    fault: stored.fault ?? `Cannot read on in "${stored.name}" at byte ${at}: ${state}`,
  });
  const block = new Uint8Array(BLOCK);
  let longName: string | undefined;
  let pax = new Map<string, string>();
  let at = 0;
  for (let count = 0; ; count++) {
    const have = readFully(stored, at, block);
    if (have === 0 || (have === BLOCK && block.every((byte) => byte === 0))) return { entries, refused, fault: stored.fault };
    if (have < BLOCK) return stop(at, `a header of ${BLOCK} bytes is wanted, ${have} are there`);
    if (!isTar(block)) return stop(at, 'a header with its checksum is wanted, other bytes follow');
    if (count >= ENTRY_LIMIT) return stop(at, `at most ${ENTRY_LIMIT} entries are wanted, there are more`);
    const kind = String.fromCharCode(block[156]!);
    const headerLength = number(block, 124, 12);
    const paxLength = pax.get('size');
    const length = paxLength === undefined || 'xgLK'.includes(kind) ? headerLength : Number(paxLength);
    if (length === undefined || !Number.isSafeInteger(length) || length < 0) return stop(at, 'a length is wanted, it is none');
    const dataAt = at + BLOCK;
    at = dataAt + Math.ceil(length / BLOCK) * BLOCK;
    if (kind === 'L' || kind === 'K' || kind === 'x' || kind === 'g') {
      if (length > EXTENSION_LIMIT)
        return stop(dataAt, `a long name or pax header of at most ${EXTENSION_LIMIT} bytes is wanted, it says ${length}`);
      const body = new Uint8Array(length);
      if (readFully(stored, dataAt, body) < length)
        return stop(dataAt, `${length} bytes of a long name or pax header are wanted, the archive ends`);
      if (kind === 'L') longName = text(body, 0, length);
      else if (kind === 'x') pax = paxRecords(body);
      continue;
    }
    const prefix = text(block, 257, 5) === 'ustar' && block[262] === 0 ? text(block, 345, 155) : '';
    const short = text(block, 0, 100);
    const given = pax.get('path') ?? longName ?? (prefix === '' ? short : `${prefix}/${short}`);
    const sparse = [...pax.keys()].some((key) => key.startsWith('GNU.sparse.'));
    longName = undefined;
    pax = new Map();
    if (kind === '5') continue;
    const bad = sparse ? 'a sparse file' : refusedKinds.get(kind);
    const safe = safeName(given);
    if (bad !== undefined) refuse(given, `a regular file is wanted, it is ${bad}`);
    else if ('refused' in safe) refuse(given, safe.refused);
    else if (safe.name !== '' && !given.endsWith('/')) entries.set(safe.name, { offset: dataAt, length });
  }
}

function readFully(stored: StoredBytes, position: number, into: Uint8Array): number {
  let have = 0;
  while (have < into.length) {
    const n = stored.readAt(position + have, into, have, into.length - have);
    if (n === 0) break;
    have += n;
  }
  return have;
}
