/** Entries of conntrack as text, as `conntrack -L -o extended,id` prints them: {@link parseConntrack} reads the same entries from it. */
import type { ConntrackEntry, Tuple } from './conntrack-entry.ts';
import { protocolNumber } from './protocol-names.ts';

/** One line, without its end. Source: libnetfilter_conntrack src/conntrack/snprintf_default.c. */
export function formatConntrack(entry: ConntrackEntry): string {
  const number = protocolNumber(entry.protocol);
  const name = /^\d/.test(entry.protocol) ? 'unknown' : entry.protocol;
  const words = [
    entry.family === 4 ? 'ipv4     2' : 'ipv6     10',
    `${name.padEnd(8)} ${number}`,
    ...(entry.timeout === undefined ? [] : [entry.timeout]),
    ...(entry.state === undefined ? [] : [entry.state]),
    ...tupleWords(entry.original),
    ...(entry.zoneOriginal === undefined ? [] : [`zone-orig=${entry.zoneOriginal}`]),
    ...(entry.unreplied ? ['[UNREPLIED]'] : []),
    ...tupleWords(entry.reply),
    ...(entry.zoneReply === undefined ? [] : [`zone-reply=${entry.zoneReply}`]),
    ...(entry.assured ? ['[ASSURED]'] : []),
    ...(entry.mark === undefined ? [] : [`mark=${entry.mark}`]),
    ...(entry.zone === undefined ? [] : [`zone=${entry.zone}`]),
    ...(entry.ageSeconds === undefined ? [] : [`delta-time=${entry.ageSeconds}`]),
    ...(entry.id === undefined ? [] : [`id=${entry.id}`]),
  ];
  return words.join(' ');
}

function tupleWords({ source, destination, icmp, packets, bytes }: Tuple): string[] {
  return [
    `src=${source.ip}`,
    `dst=${destination.ip}`,
    ...(source.port === undefined ? [] : [`sport=${source.port}`]),
    ...(destination.port === undefined ? [] : [`dport=${destination.port}`]),
    ...(icmp === undefined ? [] : [`type=${icmp.type}`, `code=${icmp.code}`, `id=${icmp.id}`]),
    ...(packets === undefined ? [] : [`packets=${packets}`]),
    ...(bytes === undefined ? [] : [`bytes=${bytes}`]),
  ];
}
