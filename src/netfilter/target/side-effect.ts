/**
 * Targets that write a log, count, or change the packet in ways that no later rule of ours looks at; the walk goes on.
 * Source: iptables-extensions(8); nft(8) "STATEMENTS".
 */
import type { IptablesTarget, Target, TargetType } from './target.ts';
import { CONTINUE } from './target.ts';

export interface SideEffectTarget extends Target {
  readonly kind: 'side-effect';
  readonly name: string;
}

const known: { readonly [name: string]: string } = {
  LOG: "write them to the kernel's log",
  NFLOG: 'send a copy to a logging program',
  ULOG: 'send a copy to a logging program',
  TRACE: 'trace their way through the rules',
  AUDIT: 'write an audit record',
  TEE: 'send a copy to another host',
  TCPMSS: 'lower their maximum segment size',
  TCPOPTSTRIP: 'remove TCP options',
  TOS: 'set their type of service',
  DSCP: 'set their DSCP field',
  ECN: 'clear their ECN bits',
  TTL: 'set their time to live',
  HL: 'set their hop limit',
  CHECKSUM: 'fill in their checksum',
  CLASSIFY: 'set their traffic class',
  SECMARK: 'set their security mark',
  CONNSECMARK: 'copy their security mark',
  SET: 'add their address to an ipset, or remove it',
  IDLETIMER: 'restart an idle timer',
  RATEEST: 'count them in a rate estimator',
  LED: 'light a LED',
};

export const sideEffect: TargetType<SideEffectTarget> = {
  kind: 'side-effect',
  apply() {
    return CONTINUE;
  },
  words({ name, text }) {
    return Object.hasOwn(known, name) ? known[name]! : `do something that does not change their way (${text})`;
  },
};

export const sideEffectOptions: IptablesTarget = {
  names: Object.keys(known),
  options: 'any',
  parse(name, options) {
    const text = [name, ...options.flatMap((option) => [option.name, ...option.values])].join(' ');
    return { kind: 'side-effect', name, text } satisfies SideEffectTarget as Target;
  },
};
