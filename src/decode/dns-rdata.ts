/**
 * Data of a DNS resource record as text, the way `dig +short` prints it. Types that are not known here, and data that does not fit its type, print in the form of RFC 3597 section 5.
 * Source: RFC 1035 section 3.3, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 6672 (DNAME), RFC 9460 (SVCB, HTTPS).
 */
import { formatV4, formatV6 } from '../net/address.ts';
import { decodeName, quoteString } from './dns-name.ts';

/** Longest text kept of one answer. */
const MAX_TEXT = 512;
const CLASS_IN = 1;

const typeNames: ReadonlyMap<number, string> = new Map([
  [1, 'A'],
  [2, 'NS'],
  [5, 'CNAME'],
  [6, 'SOA'],
  [12, 'PTR'],
  [13, 'HINFO'],
  [15, 'MX'],
  [16, 'TXT'],
  [17, 'RP'],
  [18, 'AFSDB'],
  [24, 'SIG'],
  [25, 'KEY'],
  [28, 'AAAA'],
  [29, 'LOC'],
  [33, 'SRV'],
  [35, 'NAPTR'],
  [37, 'CERT'],
  [39, 'DNAME'],
  [41, 'OPT'],
  [43, 'DS'],
  [44, 'SSHFP'],
  [46, 'RRSIG'],
  [47, 'NSEC'],
  [48, 'DNSKEY'],
  [50, 'NSEC3'],
  [51, 'NSEC3PARAM'],
  [52, 'TLSA'],
  [59, 'CDS'],
  [60, 'CDNSKEY'],
  [61, 'OPENPGPKEY'],
  [63, 'ZONEMD'],
  [64, 'SVCB'],
  [65, 'HTTPS'],
  [99, 'SPF'],
  [108, 'EUI48'],
  [109, 'EUI64'],
  [249, 'TKEY'],
  [250, 'TSIG'],
  [251, 'IXFR'],
  [252, 'AXFR'],
  [255, 'ANY'],
  [256, 'URI'],
  [257, 'CAA'],
]);

/** `A`, `AAAA`, …; `TYPE<n>` for others (RFC 3597 section 5). */
export function dnsTypeName(type: number): string {
  return typeNames.get(type) ?? `TYPE${type}`;
}

/** Text of the data [at, to) of a record in the message that begins at `start`; at most 512 characters, then an ellipsis. All of [at, to) must have been captured. */
export function formatRdata(bytes: Uint8Array, start: number, at: number, to: number, type: number, recordClass: number): string {
  const text = formatKnown(bytes, start, at, to, type, recordClass) ?? formatUnknown(bytes, at, to);
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

function formatKnown(bytes: Uint8Array, start: number, at: number, to: number, type: number, recordClass: number): string | undefined {
  switch (type) {
    case 1:
      return recordClass === CLASS_IN && to - at === 4 ? formatV4(word(bytes, at)) : undefined;
    case 28:
      return recordClass === CLASS_IN && to - at === 16
        ? formatV6(word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12))
        : undefined;
    case 2:
    case 5:
    case 12:
    case 39:
      return nameAtEnd(bytes, start, at, to);
    case 15:
    case 18:
      return numbersAndName(bytes, start, at, to, 1);
    case 33:
      return numbersAndName(bytes, start, at, to, 3);
    case 6:
      return formatSoa(bytes, start, at, to);
    case 13:
    case 16:
    case 99:
      return formatStrings(bytes, at, to);
    case 64:
    case 65:
      return formatServiceBinding(bytes, start, at, to);
    default:
      return undefined;
  }
}

/** The name that fills [at, to) to its last byte. */
function nameAtEnd(bytes: Uint8Array, start: number, at: number, to: number): string | undefined {
  const name = decodeName(bytes, start, to, at);
  return typeof name === 'object' && name.next === to ? name.text : undefined;
}

function numbersAndName(bytes: Uint8Array, start: number, at: number, to: number, count: number): string | undefined {
  if (to - at < count * 2) return undefined;
  const name = nameAtEnd(bytes, start, at + count * 2, to);
  if (name === undefined) return undefined;
  let text = '';
  for (let i = 0; i < count; i++) text += `${half(bytes, at + i * 2)} `;
  return text + name;
}

function formatSoa(bytes: Uint8Array, start: number, at: number, to: number): string | undefined {
  const primary = decodeName(bytes, start, to, at);
  if (typeof primary !== 'object') return undefined;
  const mailbox = decodeName(bytes, start, to, primary.next);
  if (typeof mailbox !== 'object' || to - mailbox.next !== 20) return undefined;
  const numbers = [0, 4, 8, 12, 16].map((offset) => word(bytes, mailbox.next + offset) >>> 0);
  return `${primary.text} ${mailbox.text} ${numbers.join(' ')}`;
}

function formatStrings(bytes: Uint8Array, at: number, to: number): string | undefined {
  let text = '';
  let pos = at;
  while (pos < to && text.length <= MAX_TEXT) {
    const next = pos + 1 + bytes[pos]!;
    if (next > to) return undefined;
    text += `${text === '' ? '' : ' '}${quoteString(bytes, pos + 1, next)}`;
    pos = next;
  }
  return text === '' ? undefined : text;
}

/** Priority and target; the parameters in the unknown form. */
function formatServiceBinding(bytes: Uint8Array, start: number, at: number, to: number): string | undefined {
  if (to - at < 3) return undefined;
  const target = decodeName(bytes, start, to, at + 2);
  if (typeof target !== 'object') return undefined;
  const parameters = target.next < to ? ` ${formatUnknown(bytes, target.next, to)}` : '';
  return `${half(bytes, at)} ${target.text}${parameters}`;
}

function formatUnknown(bytes: Uint8Array, at: number, to: number): string {
  let text = `\\# ${to - at}`;
  for (let i = at; i < to && text.length <= MAX_TEXT; i++) text += `${i === at ? ' ' : ''}${bytes[i]!.toString(16).padStart(2, '0')}`;
  return text;
}

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function word(bytes: Uint8Array, at: number): number {
  return (half(bytes, at) << 16) | half(bytes, at + 2);
}
