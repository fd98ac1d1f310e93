/** The way of a hypothetical connection, for people. */
import { formatEndpoint } from '../net/address.ts';
import type { Palette } from '../output/color.ts';
import { escapeShort, escapeText } from '../output/escape.ts';
import type { SinkOptions } from '../output/sink.ts';
import { decisionDetails, roleNames, ruleDetails } from '../output/text-leg.ts';
import type { Way, WayLeg } from './explain-way.ts';

/** Endpoints that are listed before the rest is only counted. */
const SHOWN = 5;

export function wayText(way: Way, palette: Palette, why: boolean): string {
  const options: SinkOptions = { palette, why, all: true, printNodeName: false, numeric: false, timeFormat: 'StampMilli', width: 100 };
  const asked = way.legs.find(({ request }) => request !== undefined)?.request;
  const what = asked === undefined ? way.protocol : `${asked.method} ${escapeShort(asked.authority)}${escapeShort(asked.path)}`;
  let out = `${palette.bold(what)}  ${end(way.source, palette)} ${palette.dim('→')} ${end(way.destination, palette)}${asked?.assumed ? palette.dim('  (a plain request is assumed)') : ''}\n`;
  let where = '';
  way.legs.forEach((leg, i) => {
    if (leg.at !== where) out += `  ${palette.dim('in')} ${palette.bold(escapeText(leg.at))}\n`;
    where = leg.at;
    const last = i === way.legs.length - 1;
    const bar = palette.dim(last ? ' ' : '│');
    out += `  ${palette.dim(last ? '└─' : '├─')} ${palette.bold(roleNames[leg.role].padEnd(17))} ${end(leg.source, palette)} ${palette.dim('→')} ${end(leg.destination, palette)}  ${palette.dim(`${leg.hook} ${leg.hook === 'OUTPUT' ? `to ${escapeText(leg.out ?? '?')}` : `from ${escapeText(leg.in ?? '?')}`}`)}\n`;
    for (const [label, value] of details(leg, options)) out += `  ${bar}    ${palette.dim(label.padEnd(10))}${value}\n`;
  });
  return `${out}  ${palette.dim('ends')} ${escapeText(way.end)}\n`;
}

function end({ ip, port }: { ip: string; port: number }, palette: Palette): string {
  return palette.cyan(formatEndpoint(escapeText(ip), port));
}

function details(leg: WayLeg, options: SinkOptions): (readonly [string, string])[] {
  const { palette } = options;
  const lines: (readonly [string, string])[] = [];
  if (leg.before !== undefined) lines.push(['before', palette.dim(escapeText(leg.before))]);
  if (leg.assumedOwner !== undefined) {
    const { uid, gid } = leg.assumedOwner;
    const parts = [uid === undefined ? '' : `user ${uid}`, gid === undefined ? '' : `group ${gid}`].filter((part) => part !== '');
    if (parts.length > 0) lines.push(['opened by', palette.dim(`${parts.join(', ')} (assumed)`)]);
  }
  if (leg.tls !== undefined)
    lines.push([
      'TLS',
      `${leg.tls.sni === '' ? 'no server name' : `SNI ${escapeShort(leg.tls.sni)}`}${leg.tls.alpn.length === 0 ? '' : palette.dim(` · ALPN ${escapeShort(leg.tls.alpn.join(', '))}`)}`,
    ]);
  if (leg.rule !== undefined) {
    for (const { label, value } of ruleDetails(leg.rule, { ...options, why: true })) lines.push([label, value]);
    if (leg.rule.undecidedAt !== undefined)
      lines.push([
        'open at',
        palette.yellow(escapeText(`${leg.rule.undecidedAt.chain}/${leg.rule.undecidedAt.index} ${leg.rule.undecidedAt.text}`)),
      ]);
    for (const { verdict, to, assuming } of leg.rule.candidates ?? [])
      lines.push([
        '',
        `${verdict}${to?.port === undefined ? '' : ` ${to.port}`} ${palette.dim(`if ${assuming.map(({ key, answer }) => `${key} ${answer}`).join(', ')}`)}`,
      ]);
  }
  // Rejected candidates are what people ask this command for.
  if (leg.envoy !== undefined)
    for (const { label, value } of decisionDetails(leg.envoy, { ...options, why: true }))
      if (options.why || (label !== 'evidence' && label !== 'config')) lines.push([label, value]);
  const targets = leg.targets ?? [];
  if (targets.length > 1)
    lines.push([
      'one of',
      targets
        .slice(0, SHOWN)
        .map(({ endpoint }) => end(endpoint, palette))
        .join(', ') + (targets.length > SHOWN ? palette.dim(` and ${targets.length - SHOWN} more`) : ''),
    ]);
  for (const mirror of leg.mirrors ?? []) lines.push(['copy to', escapeShort(mirror)]);
  return lines;
}
