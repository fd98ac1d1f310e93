/**
 * All that is known of one network namespace, filled from a bundle, from files or live. Every part says when it was read; a part that is missing says why.
 * Parts are read when they are first asked for.
 */
import type { AccessLog } from '../envoy/access-log.ts';
import type { EnvoyHistory } from '../envoy/history.ts';
import type { ListenerStatus } from '../envoy/listener-status.ts';
import type { KubeNames } from '../kube/names.ts';
import type { IpRule } from '../netfilter/ip-rule.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import type { ConntrackView } from './conntrack-view.ts';
import type { SocketView } from './socket-view.ts';

export interface NamespaceInterface {
  readonly index: number;
  readonly name: string;
  /** Canonical text. */
  readonly addresses: readonly string[];
}

/** The rules that held at a moment, for one address family. */
export interface RulesHeld {
  readonly sets: readonly RuleSet[];
  readonly routing: readonly IpRule[];
  /** RFC 3339 of the oldest part. */
  readonly readAt: string;
  /** Was any part read only after the moment asked for? */
  readonly later: boolean;
  /** The same number means the same rules: verdicts may be kept by it. */
  readonly generation: number;
}

export interface Scope {
  readonly node: string;
  readonly netns: string;
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** By interface index; empty when nobody told. */
  readonly interfaces: readonly NamespaceInterface[];
}

export interface World extends Scope {
  /** Addresses of the namespace itself, without loopback; canonical text. Empty when nobody told. */
  readonly addresses: ReadonlySet<string>;
  /** `undefined` when no rules of this family were recorded. */
  rulesAt(family: 4 | 6, timeNs: number): RulesHeld | undefined;
  /** `undefined` when nothing of conntrack was recorded. */
  readonly conntrack: ConntrackView | undefined;
  readonly sockets: SocketView | undefined;
  /** `undefined` when no configuration was recorded. */
  readonly envoy: EnvoyHistory | undefined;
  /** While it is watched: until when the configurations in `envoy` are known to be all that there were; nanoseconds since the base. Absent where nobody watches it. */
  readonly envoyKnownUntilNs?: number | undefined;
  /** Asks for it to be known until later, soon. */
  readonly wantEnvoy?: (() => void) | undefined;
  /** Where Envoy listens, by /listeners; `undefined` when it was not recorded. */
  readonly listeners: readonly ListenerStatus[] | undefined;
  /** What Envoy's access log says; `undefined` when none was recorded. */
  readonly accessLog: AccessLog | undefined;
  readonly names: KubeNames;
  /** What could not be read, a sentence each. */
  readonly problems: readonly string[];
}
