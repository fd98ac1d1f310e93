/** The recorded meshes, for tests: the configuration history of each pod, and what its Envoy logged. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addClusters, addServerInfo, type EnvoyConfig, parseConfigDump } from '../../src/envoy/config.ts';
import { EnvoyHistory } from '../../src/envoy/history.ts';

export interface LogEntry {
  readonly [field: string]: string;
}

export interface RecordedPod {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly history: EnvoyHistory;
  readonly entries: readonly LogEntry[];
  /** `source:port > destination:port` of the connections that conntrack saw beginning. */
  readonly begun: ReadonlySet<string>;
}

interface ManifestFile {
  kind: string;
  status: string;
  file?: string;
  readAt: string;
}

function readConfigs(folder: string, files: readonly ManifestFile[]): EnvoyConfig[] {
  const read = (file: ManifestFile) => readFileSync(join(folder, file.file!), 'utf8');
  const ofKind = (kind: string) => files.filter((file) => file.kind === kind && file.status === 'ok' && file.file !== undefined);
  const nearest = (kind: string, readAt: string) =>
    ofKind(kind).find((file) => Math.abs(Date.parse(file.readAt) - Date.parse(readAt)) < 5000);
  return ofKind('config_dump').map((file) => {
    let config = parseConfigDump(read(file), { readAt: file.readAt });
    const clusters = nearest('clusters', file.readAt);
    if (clusters !== undefined) config = addClusters(config, read(clusters));
    const info = ofKind('server_info')[0];
    return info === undefined ? config : addServerInfo(config, read(info));
  });
}

function readBegun(folder: string, files: readonly ManifestFile[]): Set<string> {
  const begun = new Set<string>();
  for (const { kind, file } of files)
    if (kind === 'conntrack-events' && file !== undefined)
      for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
        const m = /\[NEW\].* tcp .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/.exec(line);
        if (m !== null) begun.add(`${m[1]}:${m[3]} > ${m[2]}:${m[4]}`);
      }
  return begun;
}

/** Reads the pods of one recording (`bookinfo`, …) from a folder of bundles. Pods without an Envoy are left out. */
export function readRecording(folder: string): RecordedPod[] {
  const temporary = mkdtempSync(join(tmpdir(), 'sidetrace-recording-'));
  try {
    const pods: RecordedPod[] = [];
    for (const archive of readdirSync(folder).filter((name) => name.endsWith('.tar.gz'))) {
      const node = join(temporary, archive.replace('.tar.gz', ''));
      mkdirSync(node);
      execFileSync('tar', ['-xzf', join(folder, archive), '-C', node]);
      const manifest = JSON.parse(readFileSync(join(node, 'bundle.json'), 'utf8'));
      for (const { path, pod, files, interfaces } of manifest.namespaces) {
        const configs = readConfigs(join(node, path), files);
        const log = join(folder, 'truth', `access-log.${pod.name}.jsonl`);
        if (configs.length === 0) continue;
        const entries = existsSync(log)
          ? readFileSync(log, 'utf8')
              .trim()
              .split('\n')
              .map((line) => JSON.parse(line) as LogEntry)
          : [];
        pods.push({
          name: pod.name,
          addresses: interfaces.flatMap((of: { addresses: string[] }) => of.addresses),
          history: new EnvoyHistory(configs),
          entries,
          begun: readBegun(join(node, path), files),
        });
      }
    }
    return pods;
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
