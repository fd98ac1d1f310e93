/**
 * `-o tree`: the walk of each kind of connection, merged and counted: role, hook, the chains of the rules it took, the port it was sent to, listener, filter chain, route, cluster.
 *
 *     client → proxy  12
 *     └─ PREROUTING → ISTIO_INBOUND → ISTIO_IN_REDIRECT → 15006  12
 *        └─ listener virtualInbound  12
 *           └─ chain 0.0.0.0_9080  12
 *              └─ route default  30
 *                 └─ cluster inbound|9080||  30
 *
 * Connections are counted down to the chain; below it, requests (a connection may carry several, each with its own route).
 */
import type { AnyRecord, Decision, FlowRecord, PathRecord, RuleStep } from '../record/record.ts';
import { escapeShort } from './escape.ts';
import { FlowMemory } from './flow-memory.ts';
import { PathWaiting } from './path-waiting.ts';
import { formatCount } from './quantity.ts';
import type { Sink, SinkFormat, SinkOptions } from './sink.ts';
import { rolesText } from './text-leg.ts';
import { assignDecisions } from './text-path.ts';
import type { Writer } from './writer.ts';

export const tree: SinkFormat = {
  name: 'tree',
  summary: 'the way through rules and Envoy for each kind of connection, merged and counted',
  create: (writer, options) => new TreeSink(writer, options),
};

/** More children than this below one node are counted together: names come from configurations, but their number must not run away. */
const CHILDREN_MAX = 1000;
const OTHERS = '(others)';

interface Node {
  count: number;
  readonly children: Map<string, Node>;
}

const newNode = (): Node => ({ count: 0, children: new Map() });

class TreeSink implements Sink {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  readonly #root = newNode();
  readonly #flows = new FlowMemory();
  readonly #waiting = new PathWaiting();

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
  }

  context(flow: FlowRecord): void {
    this.#flows.remember(flow);
    for (const path of this.#waiting.arrived(flow.id)) this.#path(path);
  }

  /** What has not ended, by id: its newest state. */
  readonly #open = new Map<string, FlowRecord | PathRecord>();

  write(record: AnyRecord): void {
    if (record.type !== 'flow' && record.type !== 'path') return;
    if (record.event !== 'close') this.#open.set(record.id, record);
    else {
      this.#open.delete(record.id);
      this.#count(record);
    }
  }

  #count(record: FlowRecord | PathRecord): void {
    if (record.type === 'flow') {
      const above = add(this.#root, connectionWalk(record, record.envoy));
      // Where no path tells of single requests, the connection's own decision is all there is.
      if (record.paths === undefined && record.envoy !== undefined) add(above, requestWalk(record.envoy));
      this.context(record);
    } else {
      if (!this.#waiting.add(record, (flow) => this.#flows.has(flow))) this.#path(record);
    }
  }

  end(): void {
    for (const record of this.#open.values()) this.#count(record);
    for (const path of this.#waiting.rest()) this.#path(path);
    let out = '';
    for (const [label, node] of sorted(this.#root)) out += this.#print(label, node, '', '');
    this.#writer.text(out);
    this.#writer.flush();
  }

  #path(path: PathRecord): void {
    const flows = path.legs.map((leg) => this.#flows.find(leg.flow));
    assignDecisions(path, flows).forEach((decision, i) => {
      const flow = flows[i];
      if (decision === undefined || flow === undefined) return;
      add(find(this.#root, connectionWalk(flow, flow.envoy ?? decision)), requestWalk(decision));
    });
    this.#flows.release(path);
  }

  #print(label: string, node: Node, before: string, below: string): string {
    const { palette } = this.#options;
    let shown = label;
    let at = node;
    // A node with one child as often as itself reads better on one line, as long as it stays within the rules.
    while (at.children.size === 1) {
      const [[name, child]] = [...at.children] as [[string, Node]];
      if (child.count !== at.count || !RULE_STEP.test(name) || !RULE_STEP.test(label)) break;
      shown += ` → ${name.slice(RULE_MARK.length)}`;
      at = child;
    }
    let out = `${before}${colorLabel(shown.startsWith(RULE_MARK) ? shown.slice(RULE_MARK.length) : shown, before === '', palette)}  ${palette.dim(formatCount(at.count))}\n`;
    const children = sorted(at);
    children.forEach(([name, child], i) => {
      const last = i === children.length - 1;
      out += this.#print(name, child, `${below}${palette.dim(last ? '└─ ' : '├─ ')}`, `${below}${last ? '   ' : palette.dim('│  ')}`);
    });
    return out;
  }
}

/** Marks the labels of rules, which are joined by arrows; no label from outside begins with it, since labels are escaped. */
const RULE_MARK = '\u0001';
const RULE_STEP = new RegExp(`^${RULE_MARK}`);

function colorLabel(label: string, root: boolean, palette: SinkOptions['palette']): string {
  if (root) return palette.bold(label);
  const space = label.search(/ (?!→)/);
  return space === -1 || label.includes(' → ') ? label : `${palette.dim(label.slice(0, space))}${label.slice(space)}`;
}

function sorted(node: Node): [string, Node][] {
  return [...node.children].sort(([a, m], [b, n]) => n.count - m.count || (a < b ? -1 : 1));
}

function child(node: Node, label: string): Node {
  let next = node.children.get(label);
  if (next === undefined) {
    const name = node.children.size >= CHILDREN_MAX ? OTHERS : label;
    next = node.children.get(name) ?? newNode();
    node.children.set(name, next);
  }
  return next;
}

function add(from: Node, labels: readonly string[]): Node {
  let node = from;
  for (const label of labels) {
    node = child(node, label);
    node.count++;
  }
  return node;
}

function find(from: Node, labels: readonly string[]): Node {
  let node = from;
  for (const label of labels) node = child(node, label);
  return node;
}

/** Role, chains, port, listener and filter chain of a connection. */
function connectionWalk(flow: FlowRecord, decision: Decision | undefined): string[] {
  const labels = [rolesText(flow.roles)];
  const { rule } = flow;
  if (rule === undefined) labels.push(`${RULE_MARK}no rules known`);
  else {
    labels.push(...chainsOf(rule.steps).map((chain) => RULE_MARK + escapeShort(chain)));
    const verdict =
      rule.port === undefined ? rule.verdict : rule.verdict === 'REDIRECT' ? String(rule.port) : `${rule.verdict} ${rule.port}`;
    labels.push(
      `${RULE_MARK}${rule.steps.length === 0 && rule.verdict === 'ACCEPT' && rule.reason === undefined ? 'no rule matched' : verdict}${rule.reason === undefined ? '' : ` (${rule.reason})`}`,
    );
  }
  if (decision?.listener !== undefined) labels.push(`listener ${named(decision.listener)}`);
  if (decision?.chain !== undefined) labels.push(`chain ${named(decision.chain)}`);
  return labels;
}

function requestWalk(decision: Decision): string[] {
  const labels: string[] = [];
  if (decision.route !== undefined) labels.push(`route ${named(decision.route)}`);
  if (decision.cluster !== undefined) labels.push(`cluster ${named(decision.cluster)}`);
  if (decision.outcome !== 'forwarded') labels.push(`${decision.outcome}${decision.reason === undefined ? '' : ` (${decision.reason})`}`);
  return labels;
}

const named = (name: string): string => (name === '' ? '(nameless)' : escapeShort(name));

/** The chains that the rules were in, each once in a row; chains of other tables than nat carry the table's name. */
function chainsOf(steps: readonly RuleStep[]): string[] {
  const chains: string[] = [];
  for (const { table, chain } of steps) {
    const label = /(^|-)nat$/.test(table) ? chain : `${table} ${chain}`;
    if (chains.at(-1) !== label) chains.push(label);
  }
  return chains;
}
