/** Entries of a tar archive, one after the other. Source: POSIX.1-2017 pax, "ustar Interchange Format". */
const BLOCK = 512;
const NAME_MOST = 100;
const PREFIX_MOST = 155;

export interface TarFile {
  /** Relative, with `/`; at most 255 bytes, with a `/` where 100 of them end. */
  readonly name: string;
  readonly length: number;
  /** Unix time, seconds. */
  readonly modified: number;
}

/** The header of a regular file that only its owner may read. @throws {RangeError} for a name that does not fit */
export function tarHeader({ name, length, modified }: TarFile): Buffer {
  const header = Buffer.alloc(BLOCK);
  const { prefix, rest } = splitName(name);
  const octal = (value: number, at: number, digits: number): void => {
    header.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  header.write(rest, 0, 'utf8');
  octal(0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(length, 124, 11);
  octal(modified, 136, 11);
  header.fill(0x20, 148, 156);
  header.write('0', 156, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  header.write(prefix, 345, 'utf8');
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** What follows the bytes of a file of this length. */
export function tarPadding(length: number): Buffer {
  return Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK);
}

/** Ends an archive. */
export const tarEnd: Buffer = Buffer.alloc(2 * BLOCK);

function splitName(name: string): { prefix: string; rest: string } {
  if (Buffer.byteLength(name) <= NAME_MOST) return { prefix: '', rest: name };
  for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
    const prefix = name.slice(0, at);
    const rest = name.slice(at + 1);
    if (Buffer.byteLength(prefix) <= PREFIX_MOST && Buffer.byteLength(rest) <= NAME_MOST && rest !== '') return { prefix, rest };
  }
  throw new RangeError(`Cannot put "${name}" into an archive: a name of at most ${PREFIX_MOST + NAME_MOST} bytes is wanted`);
}
