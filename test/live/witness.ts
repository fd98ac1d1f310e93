/** Who was there and says what happened: every Envoy's access log, and conntrack's own events in every pod. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '../../src/net/address.ts';
import type { FlowRecord } from '../../src/record/record.ts';
import type { Entry } from '../truth/access-log.ts';
import { ended, type Lab, type LabPod, linesSince, start } from './lab.ts';

/** What conntrack said of connections of one namespace, by their original tuple: the port that answers, where it is another than the one asked for; else 0. */
export type Translations = ReadonlyMap<string, number>;

export interface Testimony {
  /** By network namespace, in the order of their times. */
  readonly logs: Map<string, Entry[]>;
  readonly translations: Map<string, Translations>;
  /** Lines of access logs that are not JSON. */
  readonly unread: number;
}

const tupleOf = (source: string, destination: string) => `${source} > ${destination}`;

function translationsOf(lines: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const line of lines) {
    if (!line.includes('[NEW]') || !/ tcp /.test(line)) continue;
    const [src, dst, sport, dport, replySrc, , replySport] = [...line.matchAll(/(?:src|dst|sport|dport)=(\S+)/g)].map((match) => match[1]!);
    if (replySport === undefined) continue;
    found.set(
      tupleOf(formatEndpoint(src!, Number(sport)), formatEndpoint(dst!, Number(dport))),
      replySrc === dst && replySport === dport ? 0 : Number(replySport),
    );
  }
  return found;
}

/** With SYSTEM_CAPTURE=1 the packets are kept, too: a failure can be read in them. */
function capture(lab: Lab, pod: LabPod, folder: string): ChildProcess {
  const file = join(folder, `${pod.name}.pcap`);
  const tcpdump = ['tcpdump', '-Z', 'root', '-i', 'any', '-n', '-U', '-B', '65536', '--time-stamp-precision=nano', '-w', file, 'tcp'];
  return start(lab.inNode(pod.node, ['ip', 'netns', 'exec', pod.netns, ...tcpdump]), { error: `${file}.error` });
}

/** Begins to listen; what it returns ends that and tells what was heard. */
export function listen(lab: Lab, pods: readonly LabPod[], folder: string): () => Promise<Testimony> {
  const begun = pods.map((pod) => {
    const log = lab.logFile(pod);
    const events = join(folder, `conntrack.${pod.name}.txt`);
    const conntrack = ['conntrack', '-E', '-p', 'tcp', '-e', 'NEW', '-b', '8388608', '-o', 'extended,id'];
    return {
      pod,
      log,
      from: existsSync(log) ? statSync(log).size : 0,
      events,
      watcher: start(lab.inNode(pod.node, ['ip', 'netns', 'exec', pod.netns, ...conntrack]), { out: events, error: `${events}.error` }),
    };
  });
  const captures = process.env.SYSTEM_CAPTURE === undefined ? [] : pods.map((pod) => capture(lab, pod, folder));
  return async () => {
    for (const one of captures) {
      one.kill('SIGINT');
      await ended(one, 10);
    }
    const logs = new Map<string, Entry[]>();
    const translations = new Map<string, Translations>();
    let unread = 0;
    for (const { pod, log, from, events, watcher } of begun) {
      watcher.kill('SIGINT');
      await ended(watcher, 10);
      translations.set(pod.netns, translationsOf(linesSince(events, 0)));
      if (!pod.hasProxy) continue;
      const entries: Entry[] = [];
      const lines = linesSince(log, from).filter((text) => text.startsWith('{'));
      writeFileSync(join(folder, `access-log.${pod.name}.jsonl`), `${lines.join('\n')}\n`);
      for (const line of lines)
        try {
          entries.push(JSON.parse(line));
        } catch {
          unread++;
        }
      logs.set(
        pod.netns,
        entries.filter((entry) => entry.at !== undefined).sort((one, other) => (one.at < other.at ? -1 : one.at > other.at ? 1 : 0)),
      );
    }
    return { logs, translations, unread };
  };
}

export interface TranslationComparison {
  readonly connections: number;
  readonly right: number;
  /** Flows whose verdict is unknown. */
  readonly unknown: number;
  /** Connections of conntrack's that are no flow. */
  readonly missed: number;
  /** A sentence each. */
  readonly wrong: readonly string[];
}

/** Holds what flows say became of connections against what conntrack recorded. TPROXY translates nothing: there conntrack says 0. */
export function compareTranslations(flows: readonly FlowRecord[], truth: ReadonlyMap<string, Translations>): TranslationComparison {
  const byTuple = new Map<string, FlowRecord>();
  const endOf = ({ ip, port }: { ip: string; port?: number }) => formatEndpoint(ip, port ?? 0);
  for (const flow of flows)
    if (flow.protocol === 'tcp') byTuple.set(`${flow.netns} ${tupleOf(endOf(flow.source), endOf(flow.destination))}`, flow);
  let connections = 0;
  let right = 0;
  let unknown = 0;
  let missed = 0;
  const wrong: string[] = [];
  for (const [netns, translations] of truth)
    for (const [tuple, port] of translations) {
      connections++;
      const rule = byTuple.get(`${netns} ${tuple}`)?.rule;
      if (!byTuple.has(`${netns} ${tuple}`)) missed++;
      else if (rule === undefined || rule.verdict === 'unknown' || rule.evidence === 'ambiguous' || rule.evidence === 'unavailable')
        unknown++;
      else if ((rule.verdict === 'REDIRECT' || rule.verdict === 'DNAT' ? (rule.port ?? -1) : 0) === port) right++;
      else wrong.push(`${netns} ${tuple}: conntrack has port ${port}, the flow says ${rule.verdict} ${rule.port ?? ''} (${rule.evidence})`);
    }
  return { connections, right, unknown, missed, wrong };
}
