/**
 * CT, NOTRACK, nft's `ct zone set` and `notrack`: how conntrack shall treat the packet. Works before conntrack only; the first one wins, later ones do nothing,
 * save that nft's zone takes a packet back that was not to be tracked.
 * Source: iptables-extensions(8) "CT"; Linux net/netfilter/xt_CT.c xt_ct_target(), nft_ct.c nft_ct_set_zone_eval().
 */
import type { IptablesTarget, Target, TargetType } from './target.ts';
import { CONTINUE } from './target.ts';

export interface CtTarget extends Target {
  readonly kind: 'ct';
  readonly notrack: boolean;
  readonly zone?: number;
  /** The zone holds for one direction only. */
  readonly direction?: 'ORIGINAL' | 'REPLY';
  readonly dialect: 'iptables' | 'nft';
}

export const ct: TargetType<CtTarget> = {
  kind: 'ct',
  apply({ notrack, zone, direction, dialect }, packet) {
    if (packet.tracked !== 'no' || (packet.untracked && (notrack || dialect === 'iptables'))) return CONTINUE;
    if (notrack) packet.untracked = true;
    else {
      packet.trackAnew();
      if (zone !== undefined && direction !== 'REPLY') packet.zone = zone;
    }
    return CONTINUE;
  },
  words({ notrack, zone }) {
    if (notrack) return 'do not track their connection (they then see no nat rule)';
    return zone === undefined ? 'set how conntrack shall treat them' : `track their connection in zone ${zone}`;
  },
};

export const ctOptions: IptablesTarget = {
  names: ['CT', 'NOTRACK'],
  options: ['--zone', '--zone-orig', '--zone-reply', '--notrack', '--helper', '--ctevents', '--expevents', '--timeout'],
  parse(name, options) {
    let zone: number | undefined;
    let direction: CtTarget['direction'];
    for (const option of options) {
      if (!option.name.startsWith('--zone')) continue;
      const value = option.values[0] ?? '';
      if (value === 'mark') return undefined;
      if (!/^(?:0x[0-9a-fA-F]{1,4}|\d{1,5})$/.test(value)) return undefined;
      zone = Number(value);
      direction = option.name === '--zone-orig' ? 'ORIGINAL' : option.name === '--zone-reply' ? 'REPLY' : undefined;
    }
    return {
      kind: 'ct',
      dialect: 'iptables',
      notrack: name === 'NOTRACK' || options.some((option) => option.name === '--notrack'),
      text: [name, ...options.flatMap((option) => [option.name, ...option.values])].join(' '),
      ...(zone === undefined ? {} : { zone }),
      ...(direction === undefined ? {} : { direction }),
    } satisfies CtTarget as Target;
  },
};
