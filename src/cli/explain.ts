/** `sidetrace explain`: the whole way of a connection that need not exist, through rules and Envoy, in every pod that was recorded. */
import { answer, answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import type { ExitCode } from './exit-code.ts';
import { explainBatch } from './explain-batch.ts';
import { resolveDestination, resolveSource } from './explain-ends.ts';
import { wayText } from './explain-text.ts';
import { explainWay, type WayQuestion } from './explain-way.ts';
import { UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addLiveOptions, isLive, type LiveOptions, withLiveEvidence } from './live-evidence.ts';
import { addRequestOptions, parseOpening, parseRequest, type RequestOptions } from './request-options.ts';
import { splitSubject } from './subject.ts';
import { type NamedWorld, worldOfFiles, worldsOf } from './world-of.ts';

const EXAMPLES = `
Examples:
  sidetrace explain captures/bookinfo/client productpage:9080 --path /productpage
  sidetrace explain client 10.96.0.10:443 --sni example.org --bundle node-a.tar.gz --bundle node-b.tar.gz
  sidetrace explain 10.0.0.9 10.244.1.12:9080 --iptables rules.txt --config-dump dump.json --pod-address 10.244.1.12
  sidetrace explain --pod default/client productpage:9080 --path /productpage       live, from the daemon of this node
  sidetrace explain --batch packets.jsonl --iptables rules.txt -o json

A batch holds one JSON object a line:
  {"hook": "OUTPUT"|"PREROUTING", "protocol": "tcp"|"udp", "source": {"ip", "port"}, "destination": {"ip", "port"},
   "in"?, "out"?, "uid"?, "gid"?, "mark"?, "state"?, "request"?: {"method", "authority", "path", "headers"},
   "sni"?, "alpn"?}
No mark means 0, no uid or gid means unknown. One object a line comes out in the same order, {"error"} for a line
that is no packet:
  {"rule": {"verdict", "port"?, "evidence", "reason"?, "steps"}, "envoy"?}`;

interface ExplainOptions extends DestinationOptions, RequestOptions, LiveOptions {
  readonly format: string;
  readonly batch?: string;
  readonly bundle?: string[];
  readonly podAddress?: string[];
  readonly why?: true;
}

export const describeExplain: Describe = (command, finish) => {
  const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  addDestinationOptions(
    command
      .argument('[SRC]', 'who opens it: BUNDLE/POD, a pod ([namespace/]name), or an address, with or without a port')
      .argument('[DST:PORT]', 'where to: an address, a service or a pod, with a port')
      .option('-o, --format <FORMAT>', 'text or json', 'text')
      .option('--why', 'show every grade, too')
      .option('--batch <FILE>', 'judge the packets of this file (- for standard input), one JSON object a line')
      .option('--bundle <RECORDING>', 'bundles to look into; may be given several times', several)
      .option('--pod-address <IP>', 'with files: an address of the pod that they are of; may be given several times', several)
      .option('--protocol <PROTOCOL>', 'tcp or udp', 'tcp')
      .option('--uid <UID>', 'user that opens it (a user that no rule names)')
      .option('--gid <GID>', 'group that opens it (a group that no rule names)')
      .option('--mark <MARK>', 'mark of its packets', '0'),
  );
  addFileOptions(
    command,
    ['iptables-save', 'ip6tables-save', 'nft', 'ip-rule', 'config_dump', 'clusters', 'listeners', 'pods', 'services', 'endpointslices'],
    'Files:',
  );
  addLiveOptions(command);
  addRequestOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (src: string | undefined, dst: string | undefined, options: ExplainOptions) => {
      answerFormat(options.format);
      const files = namedFiles(options as unknown as { readonly [key: string]: unknown });
      if (!isLive(options)) {
        finish(explainWith(src, dst, options, files));
        return;
      }
      // The first pod opens it, unless SRC says who does.
      const pods = options.pod ?? [];
      const [from, to] = dst === undefined && options.batch === undefined ? [pods[0], src] : [src, dst];
      const bundle = await withLiveEvidence(options, pods, (paths) =>
        explainWith(from, to, { ...options, bundle: [...(options.bundle ?? []), ...paths] }, files),
      );
      finish(bundle);
    });
};

function explainWith(
  src: string | undefined,
  dst: string | undefined,
  options: ExplainOptions,
  files: ReturnType<typeof namedFiles>,
): ExitCode {
  const format = answerFormat(options.format);
  if (options.batch !== undefined) {
    if (dst !== undefined) throw new UsageError('Cannot explain a batch and a connection: give --batch, or SRC and DST:PORT, not both');
    const bundles = [...(options.bundle ?? []), ...(src === undefined ? [] : [src])];
    return explainBatch(options.batch, bundles, files, openDestination(options));
  }
  if (src === undefined || dst === undefined) throw new UsageError('Cannot explain nothing: SRC and DST:PORT are wanted, or --batch FILE');
  const { worlds, source } = subjects(src, options, files);
  const question = ask(source, dst, worlds, options);
  const way = explainWay(question, worlds);
  const destination = openDestination(options);
  const problems = [...new Set(worlds.flatMap(({ world }) => world.problems))];
  return answer(destination, format, way, () => wayText(way, destination.palette, options.why === true), problems);
}

/** The namespaces to look into, and what of SRC names the opener. */
function subjects(src: string, options: ExplainOptions, files: ReturnType<typeof namedFiles>): { worlds: NamedWorld[]; source: string } {
  const recordings = [...(options.bundle ?? [])];
  let source = src;
  const { path, pod } = splitSubject(src);
  if (pod !== undefined) {
    recordings.push(path);
    source = pod;
  }
  if (recordings.length > 0) return { worlds: worldsOf([...new Set(recordings)], files), source };
  if (files.length === 0)
    throw new UsageError(
      `Cannot explain the way from "${src}": rules or a configuration are wanted (BUNDLE/POD, --bundle, --iptables, --config-dump), none are given`,
    );
  const world = worldOfFiles(files, options.podAddress);
  return { worlds: [{ name: 'files', folder: '', world }], source };
}

function ask(source: string, dst: string, worlds: readonly NamedWorld[], options: ExplainOptions): WayQuestion {
  if (options.protocol !== 'tcp' && options.protocol !== 'udp')
    throw new UsageError(`Cannot explain the protocol "${options.protocol}": it must be tcp or udp`);
  const to = resolveDestination(dst, worlds);
  const from = resolveSource(source, worlds, to.ip);
  return {
    protocol: options.protocol,
    source: from.endpoint,
    world: from.world,
    destination: to,
    owner: {
      ...(options.uid === undefined ? {} : { uid: whole('--uid', options.uid) }),
      ...(options.gid === undefined ? {} : { gid: whole('--gid', options.gid) }),
    },
    mark: whole('--mark', options.mark ?? '0'),
    opening: parseOpening(options),
    request: parseRequest(options, hostOf(dst)),
  };
}

/** What a client would write for `namespace/name:port`: `name.namespace:port`. */
function hostOf(destination: string): string {
  return destination.replace(/^([^/]+)\/([^:]+)/, '$2.$1');
}

function whole(flag: string, text: string): number {
  const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 0xffffffff)) throw new UsageError(`Cannot take "${text}" for ${flag}: a number of 32 bits is wanted`);
  return value;
}
