/** The end of the `text` layout: the total record, with what was counted on the way by role, outcome, join and finding. */
import type { Evidence, FindingRecord, FlowRecord, Leg, Outcome, PathRecord, TotalRecord } from '../record/record.ts';
import { escapeText } from './escape.ts';
import { formatBytes, formatCount, plural } from './quantity.ts';
import type { SinkOptions } from './sink.ts';
import { roleNames, rolesText } from './text-leg.ts';
import { wrapText } from './wrap.ts';

const LABEL_WIDTH = 10;

export class Summary {
  readonly #options: SinkOptions;
  readonly #roles = new Map<Leg, number>();
  readonly #outcomes = new Map<Outcome, number>();
  readonly #joins = new Map<Evidence, number>();
  readonly #severities = new Map<FindingRecord['severity'], number>();
  readonly #folded = new Map<string, number>();
  #complete = 0;
  #requests = 0;
  #paths = 0;

  constructor(options: SinkOptions) {
    this.#options = options;
  }

  /** Flows and paths that were counted before they ended. */
  readonly #early = new Set<string>();

  /** The first record of it; what is open at the end counts as well. */
  #isFirst({ id, event }: FlowRecord | PathRecord): boolean {
    if (event === 'close') return !this.#early.delete(id);
    if (this.#early.has(id)) return false;
    this.#early.add(id);
    return true;
  }

  flow(flow: FlowRecord): void {
    if (this.#isFirst(flow)) for (const role of flow.roles) count(this.#roles, role);
  }

  path(path: PathRecord): void {
    if (!this.#isFirst(path)) return;
    this.#paths++;
    if (path.complete) this.#complete++;
    if (path.of === 'request') this.#requests++;
    for (const { decision } of path.decisions ?? []) count(this.#outcomes, decision.outcome);
    for (const join of path.joins) count(this.#joins, join.evidence);
  }

  /** A flow that was not shown. */
  fold(flow: FlowRecord): void {
    count(this.#folded, rolesText(flow.roles));
  }

  finding(finding: FindingRecord): void {
    count(this.#severities, finding.severity);
  }

  block(total: TotalRecord): string {
    const { palette, width } = this.#options;
    let out = `${palette.dim('─'.repeat(Math.min(Math.max(width, 40), 120)))}\n`;
    const line = (label: string, value: string): void => {
      out += `${palette.bold(label.padEnd(LABEL_WIDTH))}${value}\n`;
    };
    const list = (label: string, text: string, paint = (words: string): string => words): void => {
      if (text === '') return;
      const lines = wrapText(text, width, LABEL_WIDTH, ', ');
      for (let i = 0; i < lines.length; i++) line(i === 0 ? label : '', paint(lines[i]!));
    };
    const lost = total.lost === 0 ? palette.green('nothing lost') : palette.red(`${formatCount(total.lost)} lost`);
    line(
      'read',
      `${plural(total.packets, 'packet')}, ${formatBytes(total.bytes)} · ${plural(total.flows, 'flow')} · ${plural(total.paths, 'path')} · ${lost}`,
    );
    if (this.#paths > 0)
      line(
        'paths',
        `${plural(this.#requests, 'request')}, ${plural(this.#paths - this.#requests, 'connection')} · ${formatCount(this.#complete)} complete`,
      );
    list(
      'legs',
      listed(this.#roles, (role) => roleNames[role]),
    );
    list(
      'proxies',
      listed(this.#outcomes, (outcome) => outcome),
    );
    list(
      'joins',
      listed(this.#joins, (evidence) => evidence),
    );
    const folded = listed(this.#folded, (roles) => roles);
    if (folded !== '') list('not shown', `${folded} (--all shows them)`, palette.dim);
    list('unknown', listed(new Map(Object.entries(total.unknown)), escapeText), palette.yellow);
    list(
      'findings',
      listed(this.#severities, (severity) => severity),
    );
    return out;
  }
}

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** `forwarded 40, no-route 2`: the most frequent first. */
function listed<Key extends string>(counts: ReadonlyMap<Key, number>, name: (key: Key) => string): string {
  return [...counts]
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .map(([key, n]) => `${name(key)} ${formatCount(n)}`)
    .join(', ');
}
