/** What proxies decided, with the connection that the decision is about: the raw material of the rules on routes, clusters and policies. */
import type { Subject } from '../annotate/subject.ts';
import type { Decision, Evidence, Outcome, PathRecord } from '../record/record.ts';
import type { FindingInput } from './finding.ts';
import { connectionText, placeName } from './quote.ts';

export interface Decided {
  readonly path: PathRecord;
  readonly decision: Decision;
  /** The connection that the proxy accepted. */
  readonly subject: Subject;
}

const SURE: ReadonlySet<Evidence | undefined> = new Set<Evidence | undefined>(['observed', 'derived']);

/** Is this field of the decision more than a guess? */
export function isSure(decision: Decision, field: string): boolean {
  return SURE.has(decision.evidence[field]);
}

/** Decisions with one of these outcomes, where the outcome is sure. */
export function* decidedAs(input: FindingInput, ...outcomes: Outcome[]): Generator<Decided> {
  for (const path of input.paths)
    for (const { netns, decision } of path.decisions ?? []) {
      if (!outcomes.includes(decision.outcome) || !isSure(decision, 'outcome')) continue;
      const leg = path.legs.find(
        ({ netns: at, roles }) => at === netns && roles.some((role) => role === 'app-to-proxy' || role === 'client-to-proxy'),
      );
      const subject = leg === undefined ? undefined : input.subjectOf(leg.flow);
      if (subject !== undefined) yield { path, decision, subject };
    }
}

/** Does what came back agree? A request's status has to be one of these; bytes from the server on a raw connection contradict any failure. */
export function cameTrue({ path, subject }: Decided, ...statuses: number[]): boolean {
  if (path.of === 'request') return path.request?.status !== undefined && statuses.includes(path.request.status);
  return !subject.flow.payloadToSource && subject.flow.ended;
}

/** The connection or the request on it, and what came back. */
export function askedText({ path, subject }: Decided): string {
  const { request } = path;
  if (request === undefined) return `${connectionText(subject)}: closed without a byte from the server.`;
  const asked = `${request.method ?? 'a request'} ${request.authority ?? ''}${request.path ?? ''}`;
  return `${connectionText(subject)}: ${asked} at ${path.first} was answered ${request.status ?? 'by nobody'}.`;
}

/** Listener, chain, virtual host and route, as far as they are known. */
export function wayText({ decision, subject }: Decided): string {
  const parts = [
    decision.listener === undefined ? undefined : `listener "${decision.listener}"`,
    decision.chain === undefined || decision.chain === '' ? undefined : `chain "${decision.chain}"`,
    decision.virtualHost === undefined ? undefined : `virtual host "${decision.virtualHost}"`,
    decision.route === undefined ? undefined : decision.route === '' ? 'a route without a name' : `route "${decision.route}"`,
    decision.cluster === undefined ? undefined : `cluster "${decision.cluster}"`,
  ].filter((part) => part !== undefined);
  const grade = decision.evidence.outcome;
  return `The configuration of ${placeName(subject.world)} leads it through ${parts.join(', ')}${grade === undefined ? '' : ` (outcome ${decision.outcome}, ${grade})`}.`;
}
