/** The flags that name files: what was recorded of a namespace, one file each. Every command that looks at such things takes them. */
import type { Command } from 'commander';

export const fileKinds = [
  {
    kind: 'iptables-save',
    flag: '--iptables <FILE>',
    key: 'iptables',
    summary: 'iptables-save (with or without -c), iptables-restore input, or iptables -L',
  },
  { kind: 'ip6tables-save', flag: '--ip6tables <FILE>', key: 'ip6tables', summary: 'the same of ip6tables' },
  { kind: 'nft', flag: '--nft <FILE>', key: 'nft', summary: 'nft -j list ruleset' },
  { kind: 'ip-rule', flag: '--ip-rule <FILE>', key: 'ipRule', summary: 'ip rule' },
  { kind: 'sockets', flag: '--sockets <FILE>', key: 'sockets', summary: 'ss -tunaepH, or ss -ntulp' },
  { kind: 'conntrack', flag: '--conntrack <FILE>', key: 'conntrack', summary: 'conntrack -L (-o extended,id)' },
  {
    kind: 'conntrack-events',
    flag: '--conntrack-events <FILE>',
    key: 'conntrackEvents',
    summary: 'conntrack -E (-o timestamp,extended,id)',
  },
  { kind: 'config_dump', flag: '--config-dump <FILE>', key: 'configDump', summary: "Envoy's /config_dump?include_eds" },
  { kind: 'clusters', flag: '--clusters <FILE>', key: 'clusters', summary: "Envoy's /clusters?format=json" },
  { kind: 'listeners', flag: '--listeners <FILE>', key: 'listeners', summary: "Envoy's /listeners?format=json" },
  { kind: 'pods', flag: '--pods <FILE>', key: 'pods', summary: 'kubectl get pods -A -o json' },
  { kind: 'services', flag: '--services <FILE>', key: 'services', summary: 'kubectl get services -A -o json' },
  { kind: 'endpointslices', flag: '--endpointslices <FILE>', key: 'endpointslices', summary: 'kubectl get endpointslices -A -o json' },
  { kind: 'access-log', flag: '--access-log <FILE>', key: 'accessLog', summary: "Envoy's access log, in Istio's default format or JSON" },
  { kind: 'certs', flag: '--certs <FILE>', key: 'certs', summary: "Envoy's /certs" },
  { kind: 'stats', flag: '--stats <FILE>', key: 'stats', summary: "Envoy's /stats/prometheus" },
] as const;

export type FileKind = (typeof fileKinds)[number]['kind'];

export interface NamedFile {
  readonly kind: FileKind;
  readonly path: string;
}

const HEADING = 'Files beside the recording:';

/** Adds the flags of these kinds; each may be given several times. */
export function addFileOptions(command: Command, kinds: readonly FileKind[], heading: string = HEADING): Command {
  for (const { kind, flag, summary } of fileKinds) {
    if (!kinds.includes(kind)) continue;
    const option = command.createOption(flag, summary).argParser((path: string, before: string[] | undefined) => [...(before ?? []), path]);
    option.helpGroup(heading);
    command.addOption(option);
  }
  return command;
}

/** The files that were named, in the order of the table. */
export function namedFiles(options: { readonly [key: string]: unknown }): NamedFile[] {
  return fileKinds.flatMap(({ kind, key }) => ((options[key] as string[] | undefined) ?? []).map((path) => ({ kind, path })));
}
