/**
 * TPROXY: hands the packet to a local transparent socket without changing it, and marks it so that routing delivers it here.
 *
 * iptables drops the packet when no such socket listens; nft's `tproxy` then does not match, and the rest of its rule, its counter included, is not reached.
 * Source: Linux Documentation/networking/tproxy.rst, net/netfilter/xt_TPROXY.c, nft_tproxy.c.
 */
import { canonicalIp } from '../../net/address.ts';
import { evaluateMark, formatMark, type MarkExpression, maskedXor, parseMark } from '../mark.ts';
import { isQuestion } from '../truth.ts';
import type { Destination, IptablesTarget, Target, TargetType } from './target.ts';
import { DROP } from './target.ts';

export interface TproxyTarget extends Target {
  readonly kind: 'tproxy';
  /** Absent: the address of the incoming interface. */
  readonly ip?: string;
  /** Absent: the port that it had. */
  readonly port?: number;
  readonly mark?: MarkExpression;
  readonly markText?: string;
  /** iptables ends the table's walk; nft goes on with the rule, and breaks off where nobody listens. */
  readonly dialect: 'iptables' | 'nft';
}

export const tproxy: TargetType<TproxyTarget> = {
  kind: 'tproxy',
  apply({ ip, port, mark, dialect }, packet) {
    packet.lookedAt.add('protocol');
    if (packet.protocol !== 'tcp' && packet.protocol !== 'udp') return dialect === 'nft' ? { do: 'break' } : DROP;
    const listener = packet.query.transparentListener ?? (dialect === 'nft' ? 'unknown' : true);
    const listening = listener === 'unknown' ? packet.askTruth('transparent listener', 'other', 'match-needs-state') : listener;
    if (isQuestion(listening)) return listening;
    if (!listening) return dialect === 'nft' ? { do: 'break' } : DROP;
    if (mark !== undefined) packet.setMark('mark', evaluateMark(mark, packet.mark('mark'), packet.mark('connmark')));
    const to: Destination = {};
    const toPort = port ?? packet.port('destination');
    if (ip !== undefined) to.ip = ip;
    if (toPort !== undefined) to.port = toPort;
    return { do: 'send', verdict: 'TPROXY', to, ends: dialect === 'iptables' };
  },
  words({ port, markText }) {
    const where = port === undefined ? 'a local socket' : `the local socket on port ${port}`;
    return `hand them to ${where} as they are${markText === undefined ? '' : `, marked ${markText}`}`;
  },
};

export const tproxyOptions: IptablesTarget = {
  names: ['TPROXY'],
  options: ['--on-port', '--on-ip', '--tproxy-mark'],
  parse(_name, options) {
    let ip: string | undefined;
    let port: number | undefined;
    let mark: MarkExpression | undefined;
    let markText: string | undefined;
    const text = ['TPROXY'];
    for (const { name, values } of options) {
      const value = values[0] ?? '';
      text.push(name, ...values);
      if (name === '--on-port') {
        port = /^\d{1,5}$/.test(value) ? Number(value) : undefined;
        if (port === undefined) return undefined;
      } else if (name === '--on-ip') {
        ip = canonicalIp(value);
        if (ip === undefined) return undefined;
      } else {
        const parsed = parseMark(value);
        if (parsed === undefined) return undefined;
        mark = maskedXor('mark', parsed.mask, parsed.value);
        markText = formatMark(parsed.value, parsed.mask);
      }
    }
    return {
      kind: 'tproxy',
      dialect: 'iptables',
      text: text.join(' '),
      ...(ip === undefined || ip === '0.0.0.0' || ip === '::' ? {} : { ip }),
      ...(port === undefined || port === 0 ? {} : { port }),
      ...(mark === undefined || markText === undefined ? {} : { mark, markText }),
    } satisfies TproxyTarget as Target;
  },
};
