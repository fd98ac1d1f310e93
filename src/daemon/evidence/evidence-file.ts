/** One reading of one thing, as a bundle keeps it (docs/bundle.md). */
export interface EvidenceFile {
  /** `iptables-save`, `conntrack`, `config_dump`, … */
  readonly kind: string;
  readonly family?: 'ipv4' | 'ipv6';
  /** `empty`: it was read, and there is nothing; `failed`: see `reason`. */
  readonly status: 'ok' | 'empty' | 'failed';
  /** RFC 3339: when it was read. */
  readonly readAt: string;
  /** Why it could not be read, or a remark where there is nothing. */
  readonly reason?: string;
  /** There when the status is `ok`. */
  readonly bytes?: Uint8Array;
}

/** As {@link EvidenceFile}, with text in place of bytes: what tools print. */
export interface EvidenceText extends Omit<EvidenceFile, 'bytes'> {
  readonly text?: string;
}

export function fileOfText({ text, ...about }: EvidenceText): EvidenceFile {
  return text === undefined ? about : { ...about, bytes: Buffer.from(text) };
}

const names: { readonly [kind: string]: string } = {
  nft: 'nft.json',
  config_dump: 'config_dump.json',
  clusters: 'clusters.json',
  listeners: 'listeners.json',
  server_info: 'server_info.json',
  certs: 'certs.json',
  'access-log': 'access.log',
};

/** The name of its file: `conntrack.ipv4.txt`, with a label between where there are several (`conntrack.ipv4.end.txt`). */
export function evidenceName({ kind, family }: Pick<EvidenceFile, 'kind' | 'family'>, label?: string): string {
  const known = names[kind];
  const dot = known?.lastIndexOf('.') ?? -1;
  const stem = known === undefined ? kind.replaceAll(/[^a-z0-9_-]/gi, '_') : known.slice(0, dot);
  // the kinds of iptables say their family themselves
  const which = family === undefined || /^ip6?tables/.test(kind) ? '' : `.${family}`;
  return `${stem}${which}${label === undefined ? '' : `.${label}`}${known === undefined ? '.txt' : known.slice(dot)}`;
}
