/**
 * Every command, in the order in which `--help` names them. Only the one that was asked for is loaded, so that the others cost no time at the start.
 * To add one: its file, which exports a function that fills in a Command, and a line here.
 */
import type { Command } from 'commander';

/** Describes options and arguments and sets the action, which gives the exit code through `finish`. */
export type Describe = (command: Command, finish: (code: number) => void) => void;

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Describe>;
}

export const commands: readonly CommandEntry[] = [
  {
    name: 'replay',
    summary: 'what became of each connection in a recording: paths, legs, rules, Envoy decisions',
    load: async () => (await import('./replay.ts')).describeReplay,
  },
  {
    name: 'show',
    summary: 'records that were saved before, in any format, with all filters',
    load: async () => (await import('./show.ts')).describeShow,
  },
  {
    name: 'observe',
    summary: 'what daemons see, as it happens; paths over several nodes in one',
    load: async () => (await import('./observe.ts')).describeObserve,
  },
  {
    name: 'status',
    summary: 'how the daemons are: what they follow, what is missing, what was lost',
    load: async () => (await import('./status.ts')).describeStatus,
  },
  {
    name: 'explain',
    summary: 'the whole way of a connection that need not exist, through rules and Envoy',
    load: async () => (await import('./explain.ts')).describeExplain,
  },
  {
    name: 'rules',
    summary: 'each netfilter rule in words, with its hits and what can never match',
    load: async () => (await import('./rules.ts')).describeRules,
  },
  {
    name: 'listeners',
    summary: 'what listens in a pod, which process, which role',
    load: async () => (await import('./listeners.ts')).describeListeners,
  },
  {
    name: 'envoy',
    summary: "a proxy's listeners, chains, routes, clusters, endpoints, certificates and statistics",
    load: async () => (await import('./envoy.ts')).describeEnvoy,
  },
  {
    name: 'record',
    summary: 'a bundle of what happens now: packets, rules, connection tracking, sockets, Envoy; to be replayed later',
    load: async () => (await import('./record.ts')).describeRecord,
  },
  {
    name: 'doctor',
    summary: 'can sidetrace work here: kernel, rights, tools, namespaces, Envoy, clock; and what to do where not',
    load: async () => (await import('./doctor.ts')).describeDoctor,
  },
  {
    name: 'daemon',
    summary: 'follows the pods of this node and streams what it finds',
    load: async () => (await import('./daemon.ts')).describeDaemon,
  },
  {
    name: 'completion',
    summary: 'completion for bash, zsh or fish',
    load: async () => (await import('./completion.ts')).describeCompletion,
  },
  {
    name: 'version',
    summary: 'the version of sidetrace, Node.js and the record format',
    load: async () => (await import('./version-command.ts')).describeVersion,
  },
];
