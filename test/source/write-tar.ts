/** Writes tar archives for tests, from the description of the format alone. */
import { concat, utf8 } from './write-pcapng.ts';

export interface TarMember {
  name: string;
  data?: Uint8Array | string;
  /** Type flag; `0` unless told. */
  kind?: string;
  prefix?: string;
  /** `ustar` with POSIX's version unless told; GNU's own spelling, or none at all. */
  dialect?: 'posix' | 'gnu' | 'v7';
  link?: string;
  /** What the header says of the length, as it is written. */
  size?: string;
}

const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;

export function writeMember({ name, data = '', kind = '0', prefix = '', dialect = 'posix', link = '', size }: TarMember): Uint8Array {
  const body = typeof data === 'string' ? utf8(data) : data;
  const header = new Uint8Array(512);
  const put = (text: string, at: number) => header.set(utf8(text), at);
  put(name, 0);
  put(octal(0o644, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(size ?? octal(body.length, 11), 124);
  put(octal(1_700_000_000, 11), 136);
  put('        ', 148);
  put(kind, 156);
  put(link, 157);
  if (dialect === 'posix') put('ustar\x0000', 257);
  else if (dialect === 'gnu') put('ustar  \0', 257);
  put(prefix, 345);
  put(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return concat([header, body, new Uint8Array((512 - (body.length % 512)) % 512)]);
}

export function writeTar(...members: TarMember[]): Uint8Array {
  return concat([...members.map(writeMember), new Uint8Array(1024)]);
}

/** A pax header for the member that follows. */
export function paxHeader(records: { [key: string]: string }): TarMember {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = utf8(rest).length + 1;
    while (String(length).length + utf8(rest).length !== length) length++;
    return `${length}${rest}`;
  });
  return { name: './PaxHeaders/x', kind: 'x', data: lines.join('') };
}
