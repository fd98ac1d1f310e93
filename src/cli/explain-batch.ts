/** `explain --batch`: one packet a line in, one verdict a line out, in the same order. Lines are judged as they come; nothing is kept. */
import { closeSync, openSync, readSync } from 'node:fs';
import { BatchLineError, batchAnswerOf, packetOf } from '../netfilter/batch.ts';
import type { PacketQuery } from '../netfilter/packet-query.ts';
import { formatJson } from '../output/escape.ts';
import type { Endpoint } from '../record/record.ts';
import type { RecordedWorld } from '../world/build.ts';
import type { Destination } from './destination.ts';
import { COMPLETE, type ExitCode, MALFORMED } from './exit-code.ts';
import { complain, InputError, UsageError } from './failure.ts';
import type { NamedFile } from './file-options.ts';
import { askProxy } from './proxy-way.ts';
import type { AskedRequest, Opening } from './request-options.ts';
import { atEnd, worldOfFiles, worldOfSubject } from './world-of.ts';

export function explainBatch(path: string, bundles: readonly string[], files: readonly NamedFile[], { writer }: Destination): ExitCode {
  if (bundles.length > 1) throw new UsageError(`Cannot judge a batch in ${bundles.length} places: one BUNDLE/POD is wanted`);
  const [subject] = bundles;
  if (subject === undefined && files.length === 0)
    throw new UsageError('Cannot judge a batch without rules: BUNDLE/POD, --iptables or --nft is wanted, none is given');
  const world = subject === undefined ? worldOfFiles(files) : worldOfSubject(subject, files);
  const judge = new LineJudge(world);
  let wrong = 0;
  for (const line of linesOf(path)) {
    if (line.trim() === '') continue;
    let answer: object;
    try {
      answer = judge.answer(line);
    } catch (error) {
      if (!(error instanceof BatchLineError)) throw error;
      answer = { error: error.message };
      wrong++;
    }
    writer.text(`${formatJson(answer)}\n`);
    if (writer.closed) break;
  }
  writer.close();
  for (const problem of world.problems) complain(`Cannot use ${problem}`);
  if (wrong > 0)
    complain(`Cannot judge ${wrong} of the lines of "${path}": each must be a packet as JSON, the answers say why these are not`);
  return wrong > 0 || world.problems.length > 0 ? MALFORMED : COMPLETE;
}

class LineJudge {
  readonly #world: RecordedWorld;

  constructor(world: RecordedWorld) {
    this.#world = world;
  }

  answer(text: string): object {
    let line: { readonly [field: string]: unknown };
    try {
      line = JSON.parse(text) as typeof line;
    } catch {
      throw new BatchLineError(`Cannot judge the packet: a line must be a JSON object, it is ${JSON.stringify(text.slice(0, 60))}`);
    }
    const packet = packetOf(line);
    const held = this.#world.rulesAt(packet.source.ip.includes(':') ? 6 : 4, atEnd);
    const { rule } =
      held === undefined
        ? { rule: { verdict: 'unknown' as const, evidence: 'unavailable' as const, reason: 'no-rules' as const, steps: [] } }
        : batchAnswerOf(held.sets, {
            ...packet,
            ...this.#localAddress(packet),
            ...(held.routing.length === 0 ? {} : { routing: held.routing }),
          });
    const envoy = this.#envoy(packet, rule, line);
    return envoy === undefined ? { rule } : { rule, envoy };
  }

  #localAddress({ in: name, destination }: PacketQuery): Pick<PacketQuery, 'localAddress'> {
    const own = this.#world.interfaces
      .find((one) => one.name === name)
      ?.addresses.find((address) => address.includes(':') === destination.ip.includes(':'));
    return own === undefined ? {} : { localAddress: own };
  }

  /** What the proxy does with a connection that the rules hand to it. */
  #envoy(packet: PacketQuery, rule: { verdict: string; port?: number }, line: { readonly [field: string]: unknown }): object | undefined {
    const history = this.#world.envoy;
    const { source, destination } = packet;
    if (history === undefined || packet.protocol !== 'tcp' || source.port === undefined || destination.port === undefined) return undefined;
    if ((rule.verdict !== 'REDIRECT' && rule.verdict !== 'TPROXY') || rule.port === undefined) return undefined;
    const { opening, request } = openingOf(line, destination as Endpoint);
    return askProxy(history, {
      listener: { port: rule.port },
      source: source as Endpoint,
      destination: destination as Endpoint,
      opening,
      request,
    }).decision;
  }
}

const text = (value: unknown, name: string): string | undefined => {
  if (value === undefined || typeof value === 'string') return value;
  throw new BatchLineError(`Cannot judge the packet: "${name}" must be text, it is ${JSON.stringify(value)}`);
};

function openingOf(line: { readonly [field: string]: unknown }, destination: Endpoint): { opening: Opening; request: AskedRequest } {
  const given = (typeof line.request === 'object' && line.request !== null ? line.request : undefined) as
    | { readonly [field: string]: unknown }
    | undefined;
  const sni = text(line.sni, 'sni');
  const alpn = typeof line.alpn === 'string' ? [line.alpn] : line.alpn;
  if (alpn !== undefined && !(Array.isArray(alpn) && alpn.every((name) => typeof name === 'string')))
    throw new BatchLineError('Cannot judge the packet: "alpn" must be a list of texts, it is none');
  const headers = typeof given?.headers === 'object' && given.headers !== null ? Object.entries(given.headers) : [];
  const request: AskedRequest = {
    method: text(given?.method, 'request.method') ?? 'GET',
    authority: text(given?.authority, 'request.authority') ?? `${destination.ip}:${destination.port}`,
    path: text(given?.path, 'request.path') ?? '/',
    headers: headers.map(([name, value]) => [name.toLowerCase(), text(value, `request.headers.${name}`) ?? '']),
    assumed: given === undefined,
  };
  if (sni === undefined && alpn === undefined)
    return { opening: { transport: 'raw_buffer', http: given === undefined ? 'unknown' : 'http/1.1' }, request };
  return { opening: { transport: 'tls', http: 'none', serverName: sni ?? '', alpn: (alpn as string[] | undefined) ?? [] }, request };
}

const CHUNK = 1024 * 1024;
/** A longer line is no packet. */
const LINE_MAX = 1024 * 1024;

function* linesOf(path: string): Generator<string> {
  let file: number;
  try {
    file = path === '-' ? 0 : openSync(path, 'r');
  } catch (cause) {
    throw new InputError(
      `Cannot read "${path}": a file with a packet a line is wanted, the system says ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
      { cause },
    );
  }
  const chunk = Buffer.allocUnsafe(CHUNK);
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (let length = read(file, chunk, path); length > 0; length = read(file, chunk, path)) {
      const lines = (rest + decoder.decode(chunk.subarray(0, length), { stream: true })).split('\n');
      rest = lines.pop()!;
      if (rest.length > LINE_MAX)
        throw new InputError(`Cannot read "${path}": lines of at most ${LINE_MAX} characters are wanted, there is a longer one`);
      yield* lines;
    }
    yield rest;
  } finally {
    if (file !== 0) closeSync(file);
  }
}

function read(file: number, chunk: Buffer, path: string): number {
  for (;;)
    try {
      return readSync(file, chunk);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN')
        throw new InputError(`Cannot read "${path}": a file with a packet a line is wanted, the system says ${code ?? String(cause)}`, {
          cause,
        });
      Atomics.wait(sleeper, 0, 0, 5);
    }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
