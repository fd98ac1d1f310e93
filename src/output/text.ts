/**
 * `-o text`, the default: paths, not packets. A block for each path when it and its flows are known, two lines for each flow that is part of none, findings with their proof,
 * what was lost where it was lost, and a summary from the total record.
 */
import type { AnyRecord, Decision, FindingRecord, FlowRecord, Leg, LostRecord, PathRecord } from '../record/record.ts';
import { escapeShort, escapeText } from './escape.ts';
import { FlowMemory } from './flow-memory.ts';
import { PathWaiting } from './path-waiting.ts';
import { plural } from './quantity.ts';
import type { Sink, SinkFormat, SinkOptions } from './sink.ts';
import { badState, decisionDetails, peerText, rolesText, ruleDetails, translatedDetails, wireText } from './text-leg.ts';
import { pathBlock } from './text-path.ts';
import { Summary } from './text-summary.ts';
import { wrapText } from './wrap.ts';
import type { Writer } from './writer.ts';

export const text: SinkFormat = {
  name: 'text',
  summary: 'for people: a block per path with its legs, rule, listener, chain, route, cluster, endpoint; a summary at the end',
  create: (writer, options) => new TextSink(writer, options),
};

class TextSink implements Sink {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  readonly #flows = new FlowMemory();
  readonly #summary: Summary;
  readonly #waiting = new PathWaiting();
  /** Whether the last thing printed was a line of its own, without an empty line behind. */
  #open = false;

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
    this.#summary = new Summary(options);
  }

  context(flow: FlowRecord): void {
    this.#flows.remember(flow);
    for (const path of this.#waiting.arrived(flow.id)) this.#path(path);
  }

  write(record: AnyRecord): void {
    switch (record.type) {
      case 'flow':
        this.#summary.flow(record);
        if (record.paths === undefined || record.paths.length === 0) this.#single(record, record.envoy);
        else this.context(record);
        break;
      case 'path':
        this.#summary.path(record);
        if (!this.#waiting.add(record, (flow) => this.#flows.has(flow))) this.#path(record);
        break;
      case 'finding':
        this.#summary.finding(record);
        this.#flushWaiting();
        this.#block(findingBlock(record, this.#options));
        break;
      case 'lost':
        this.#line(lostLine(record, this.#options));
        break;
      case 'total':
        this.#flushWaiting();
        this.#block(this.#summary.block(record));
        break;
    }
  }

  end(): void {
    this.#flushWaiting();
    this.#writer.flush();
  }

  #flushWaiting(): void {
    for (const path of this.#waiting.rest()) this.#path(path);
  }

  #path(path: PathRecord): void {
    const only =
      path.of === 'connection' && path.legs.length === 1 && path.joins.length === 0 ? this.#flows.find(path.legs[0]!.flow) : undefined;
    if (only !== undefined) this.#single(only, path.decisions?.[0]?.decision ?? only.envoy);
    else this.#block(pathBlock(path, (id) => this.#flows.find(id), this.#options));
    this.#flows.release(path);
  }

  #single(flow: FlowRecord, decision: Decision | undefined): void {
    if (!this.#options.all && isHousekeeping(flow)) this.#summary.fold(flow);
    else this.#line(flowLines(flow, this.#options, decision));
  }

  #block(text: string): void {
    this.#writer.text(this.#open ? `\n${text}` : text);
    this.#open = false;
  }

  #line(text: string): void {
    this.#writer.text(text);
    this.#open = true;
  }
}

const aside: ReadonlySet<Leg> = new Set<Leg>(['admin', 'probe', 'control', 'telemetry']);

/** What goes on beside the application and went well: probes, the agent's polls, the control plane, neighbour discovery. */
function isHousekeeping({ roles, state, icmp, protocol, findings }: FlowRecord): boolean {
  if (findings !== undefined) return false;
  // Router and neighbour discovery. Source: RFC 4861 section 4.
  if (protocol === 'icmpv6' && icmp !== undefined && icmp.type >= 133 && icmp.type <= 137) return true;
  return roles.every((role) => aside.has(role)) && (state === 'open' || state === 'closed');
}

/** A flow that belongs to no path, or is all of one: who and what, and below what took it, where there is something to say. */
function flowLines(flow: FlowRecord, options: SinkOptions, decision: Decision | undefined): string {
  const { palette } = options;
  const pod = flow.pod === undefined ? undefined : `${flow.pod.namespace}/${flow.pod.name}`;
  const inside = pod === undefined ? '' : ` ${palette.dim('in')} ${escapeText(pod)}`;
  const kind = flow.icmp === undefined ? escapeText(flow.protocol) : `${escapeText(flow.protocol)} type ${flow.icmp.type}`;
  const who = `${peerText(flow.source, pod, options)} ${palette.dim('→')} ${peerText(flow.destination, pod, options)}`;
  const state = badState(flow, palette);
  let out = `${palette.dim(flow.first.slice(11, 23))}  ${palette.bold(rolesText(flow.roles))}${inside}  ${kind} ${who}${state === '' ? '' : `${palette.dim(' ·')} ${state}`}\n`;
  const details = [];
  if (flow.rule !== undefined && (flow.rule.verdict !== 'ACCEPT' || flow.rule.reason !== undefined || flow.rule.steps.length > 0))
    details.push(...ruleDetails(flow.rule, options));
  details.push({ label: 'wire', value: wireText(flow, options) });
  details.push(...translatedDetails(flow, options));
  if (decision !== undefined) details.push(...decisionDetails(decision, options));
  if (flow.dns !== undefined) {
    const { question, kind, rcode, answers = [] } = flow.dns;
    details.push({
      label: 'dns',
      value:
        `${escapeText(kind)} ${escapeShort(question)} ${palette.dim('→')} ${rcode === undefined ? palette.yellow('no answer seen') : escapeText(rcode)} ${escapeShort(answers.join(' '))}`.trimEnd(),
    });
  }
  for (const { label, value } of details) out += `                ${palette.dim(label.padEnd(10))}${value}\n`;
  return out;
}

const marks: { readonly [severity in FindingRecord['severity']]: string } = { error: '✗', warning: '!', info: 'i' };
/** Where the text of a finding begins, and its proof. */
const TITLE_INDENT = 4;
const PROOF_INDENT = 10;

function findingBlock(finding: FindingRecord, { palette, width }: SinkOptions): string {
  const color = { error: palette.red, warning: palette.yellow, info: palette.blue }[finding.severity];
  let out = `${color(`${marks[finding.severity]} ${finding.severity}`)}  ${palette.dim(escapeText(finding.rule))}\n`;
  for (const line of wrapText(escapeText(finding.title), width, TITLE_INDENT)) out += `${' '.repeat(TITLE_INDENT)}${palette.bold(line)}\n`;
  const paragraph = (label: string, text: string): void => {
    wrapText(escapeText(text), width, PROOF_INDENT).forEach((line, i) => {
      out += `${' '.repeat(TITLE_INDENT)}${palette.dim((i === 0 ? label : '').padEnd(PROOF_INDENT - TITLE_INDENT))}${line}\n`;
    });
  };
  for (const proof of finding.proof) paragraph('seen', proof);
  paragraph('do', finding.fix);
  const where = [
    finding.flows.length === 0 ? '' : plural(finding.flows.length, 'flow'),
    finding.paths.length === 0 ? '' : plural(finding.paths.length, 'path'),
  ].filter((part) => part !== '');
  if (where.length > 0) paragraph('in', `${where.join(', ')} (--finding ${finding.id})`);
  return `${out}\n`;
}

function lostLine(lost: LostRecord, { palette }: SinkOptions): string {
  const where =
    lost.scope.netns === undefined ? escapeText(lost.scope.node) : `${escapeText(lost.scope.netns)} on ${escapeText(lost.scope.node)}`;
  const count = !lost.exact && lost.count === 0 ? 'an unknown number' : `${lost.exact ? '' : 'at least '}${lost.count}`;
  return `${palette.dim(lost.last.slice(11, 23))}  ${palette.red('lost')} ${count} (${escapeText(lost.source)}) in ${where}${lost.detail === undefined ? '' : `: ${escapeShort(lost.detail, 400)}`}\n`;
}
