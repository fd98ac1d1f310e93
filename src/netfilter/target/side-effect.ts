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
  LOG: "write it to the kernel's log",
  NFLOG: 'send a copy to a logging program',
  ULOG: 'send a copy to a logging program',
  TRACE: 'trace its way through the rules',
  AUDIT: 'write an audit record',
  TEE: 'send a copy to another host',
  TCPMSS: 'lower its maximum segment size',
  TCPOPTSTRIP: 'remove TCP options',
  TOS: 'set its type of service',
  DSCP: 'set its DSCP field',
  ECN: 'clear its ECN bits',
  TTL: 'set its time to live',
  HL: 'set its hop limit',
  CHECKSUM: 'fill in its checksum',
  CLASSIFY: 'set its traffic class',
  SECMARK: 'set its security mark',
  CONNSECMARK: 'copy its security mark',
  SET: 'add its address to an ipset, or remove it',
  IDLETIMER: 'restart an idle timer',
  RATEEST: 'count it in a rate estimator',
  LED: 'light a LED',
};

export const sideEffect: TargetType<SideEffectTarget> = {
  kind: 'side-effect',
  apply() {
    return CONTINUE;
  },
  words({ name, text }) {
    return Object.hasOwn(known, name) ? known[name]! : `do something that does not change its way (${text})`;
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
