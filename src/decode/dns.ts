/**
 * DNS messages: header, first question, answers as text. Source: RFC 1035 section 4; RFC 6891 (extended response codes); RFC 6895 (their names).
 */
import { decodeName, skipName } from './dns-name.ts';
import { dnsTypeName, formatRdata } from './dns-rdata.ts';

const DNS_HEADER_LEN = 12;
/** Type, class, time to live, data length. */
const RECORD_FIXED_LEN = 10;
const TYPE_OPT = 41;
const MAX_ANSWERS = 16;
/** Records looked through for the OPT record; real messages hold a few dozen. */
const MAX_RECORDS = 512;
const OPCODE_UPDATE = 5;

export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  /** 0 query, 4 notify, 5 update, … */
  readonly opcode: number;
  /** `NOERROR`, `NXDOMAIN`, …; of responses only, and absent where the bytes that decide it were cut. */
  readonly rcode?: string;
  /** Name and type of the first question (of an update: the zone) in presentation form, see dns-name.ts; absent when there is none or it was cut. */
  readonly question?: string;
  /** `A`, `AAAA`, `SRV`, … of the question. */
  readonly kind?: string;
  /** Data of the first 16 records of the answer section, as `dig +short` prints it. */
  readonly answers: readonly string[];
  /** Records in the answer section as the header counts them. */
  readonly answerCount: number;
  /** The sender cut the message (TC). */
  readonly truncated: boolean;
  /** Everything that the header counts was there and sound. */
  readonly complete: boolean;
}

const rcodeNames: readonly string[] = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
  'DSOTYPENI',
  'RCODE12',
  'RCODE13',
  'RCODE14',
  'RCODE15',
  'BADVERS',
  'BADKEY',
  'BADTIME',
  'BADMODE',
  'BADNAME',
  'BADALG',
  'BADTRUNC',
  'BADCOOKIE',
];

/** Response codes that, in a header, may be the low four bits of BADVERS or BADCOOKIE. */
const AMBIGUOUS_RCODES: ReadonlySet<number> = new Set([0, 7]);

/**
 * Reads the message in [start, end) of `bytes`; on the wire it ended at `wireEnd`.
 *
 * @returns `undefined` when it is no DNS message: shorter than its header, or with a question that cannot be right. A message that was cut, or whose records are broken,
 * gives what precedes the fault, with `complete` false.
 */
export function decodeDns(bytes: Uint8Array, start: number, end: number, wireEnd = end): DnsMessage | undefined {
  if (end - start < DNS_HEADER_LEN) return undefined;
  const flags = half(bytes, start + 2);
  const response = (flags & 0x8000) !== 0;
  const opcode = (flags >> 11) & 15;
  const questions = half(bytes, start + 4);
  const answerCount = half(bytes, start + 6);

  let at = start + DNS_HEADER_LEN;
  let question: string | undefined;
  let kind = '';
  for (let i = 0; i < questions && at !== -1; i++) {
    const name = i === 0 ? decodeName(bytes, start, end, at) : skipName(bytes, end, at);
    if (name === 'bad' || (name === 'cut' && end >= wireEnd)) return undefined;
    const next = typeof name === 'object' ? name.next : name;
    if (next === 'cut' || next + 4 > end) {
      if (end >= wireEnd) return undefined;
      at = -1;
    } else {
      if (typeof name === 'object') {
        question = name.text;
        kind = dnsTypeName(half(bytes, next));
      }
      at = next + 4;
    }
  }
  const authorities = half(bytes, start + 8);
  const additional = half(bytes, start + 10);
  const records = readRecords(bytes, start, end, at, opcode === OPCODE_UPDATE ? 0 : answerCount, answerCount + authorities + additional);
  const rcode = response ? rcodeName(flags & 15, records, answerCount, additional) : undefined;
  const message: { -readonly [field in keyof DnsMessage]: DnsMessage[field] } = {
    id: half(bytes, start),
    response,
    opcode,
    answers: records.answers,
    answerCount,
    truncated: (flags & 0x0200) !== 0,
    complete: records.complete,
  };
  if (question !== undefined) {
    message.question = question;
    message.kind = kind;
  }
  if (rcode !== undefined) message.rcode = rcode;
  return message;
}

/** As {@link decodeDns}, for a message behind the two length bytes that TCP has; one that goes on in later segments is cut. Source: RFC 1035 section 4.2.2. */
export function decodeDnsOverTcp(bytes: Uint8Array, start: number, end: number): DnsMessage | undefined {
  if (end - start < 2) return undefined;
  const wireEnd = start + 2 + half(bytes, start);
  return decodeDns(bytes, start + 2, Math.min(end, wireEnd), wireEnd);
}

interface Records {
  readonly answers: string[];
  readonly complete: boolean;
  /** Upper eight bits of the response code, from the OPT record; 0 without one. */
  readonly extendedRcode: number;
}

/** Walks `count` records from `at` (-1: cut before them), of which the first `answerCount` are answers. */
function readRecords(bytes: Uint8Array, start: number, end: number, at: number, answerCount: number, count: number): Records {
  const answers: string[] = [];
  let extendedRcode = 0;
  let pos = at;
  const looked = Math.min(count, MAX_RECORDS);
  for (let i = 0; i < looked; i++) {
    const fixed = pos === -1 ? 'cut' : skipName(bytes, end, pos);
    if (typeof fixed !== 'number' || fixed + RECORD_FIXED_LEN > end) return { answers, complete: false, extendedRcode };
    const type = half(bytes, fixed);
    const data = fixed + RECORD_FIXED_LEN;
    pos = data + half(bytes, fixed + 8);
    if (type === TYPE_OPT && i >= answerCount) extendedRcode = bytes[fixed + 4]!;
    if (pos > end) return { answers, complete: false, extendedRcode };
    // The top bit of the class is multicast DNS's cache flush (RFC 6762 section 10.2).
    if (i < answerCount && answers.length < MAX_ANSWERS)
      answers.push(formatRdata(bytes, start, data, pos, type, half(bytes, fixed + 2) & 0x7fff));
  }
  return { answers, complete: pos !== -1 && looked === count, extendedRcode };
}

/** Errors with extended codes carry no answers, so an answer settles what a cut OPT record could have changed. */
function rcodeName(low: number, records: Records, answerCount: number, additional: number): string | undefined {
  if (!records.complete && records.extendedRcode === 0 && additional > 0 && answerCount === 0 && AMBIGUOUS_RCODES.has(low))
    return undefined;
  const code = (records.extendedRcode << 4) | low;
  return rcodeNames[code] ?? `RCODE${code}`;
}

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
