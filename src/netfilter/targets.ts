/**
 * Every kind of target, and how iptables spells it. To add one: write its file in target/, add a line here.
 */
import type { PacketState } from './packet-state.ts';
import { ct, ctOptions } from './target/ct.ts';
import { jump } from './target/jump.ts';
import { mark, markTargetOptions } from './target/mark.ts';
import { nat, natOptions } from './target/nat.ts';
import { opaque } from './target/opaque.ts';
import { redirect, redirectOptions } from './target/redirect.ts';
import { sideEffect, sideEffectOptions } from './target/side-effect.ts';
import type { Effect, IptablesTarget, Target, TargetType } from './target/target.ts';
import { tproxy, tproxyOptions } from './target/tproxy.ts';
import { verdict, verdictOptions } from './target/verdict.ts';
import type { Question } from './truth.ts';

const targetTypes: readonly TargetType[] = [verdict, jump, redirect, nat, tproxy, mark, ct, sideEffect, opaque];

export const iptablesTargets: readonly IptablesTarget[] = [
  verdictOptions,
  redirectOptions,
  natOptions,
  tproxyOptions,
  markTargetOptions,
  ctOptions,
  sideEffectOptions,
];

const byKind = new Map(targetTypes.map((type) => [type.kind, type]));

function typeOf(target: Target): TargetType {
  const type = byKind.get(target.kind);
  if (type === undefined)
    throw new TypeError(`Cannot apply the target "${target.text}": its kind must be a known one, it is "${target.kind}"`);
  return type;
}

export function applyTarget(target: Target, packet: PacketState): Effect | Question {
  return typeOf(target).apply(target, packet);
}

/** For a newcomer, an order: `send them to port 15006 of this host itself instead`. */
export function targetWords(target: Target): string {
  return typeOf(target).words(target);
}
