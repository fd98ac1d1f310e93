/** What Envoy's admin interface tells, as a bundle keeps it. */
import { errorText } from '../../net/error-text.ts';
import type { EvidenceFile } from './evidence-file.ts';
import { hideSecrets } from './secrets.ts';

/** An Envoy that can be asked. */
export interface AskedEnvoy {
  /** Of its admin interface. */
  readonly ports: readonly number[];
  get(path: string): Promise<{ readonly status: number; readonly body: Uint8Array }>;
}

/** In the order in which they are asked: the largest and most telling first, before anything changes. */
const questions: readonly { readonly kind: string; readonly path: string }[] = [
  { kind: 'config_dump', path: '/config_dump?include_eds' },
  { kind: 'clusters', path: '/clusters?format=json' },
  { kind: 'listeners', path: '/listeners?format=json' },
  { kind: 'server_info', path: '/server_info' },
  { kind: 'certs', path: '/certs' },
  { kind: 'stats', path: '/stats/prometheus' },
];

/** Does somebody listen there, by the sockets of the namespace (`ss -tunaepH`)? Asking in vain would be seen as refused connections. */
export function listens(sockets: string, ports: readonly number[]): boolean {
  return sockets.split('\n').some((line) => / LISTEN /.test(line) && ports.some((port) => line.includes(`:${port} `)));
}

const ANSWER_MS = 90_000;

/** Asks one after the other. Where nobody answers the first, the others are not asked. */
export async function* envoyEvidence(envoy: AskedEnvoy, now: () => string): AsyncGenerator<EvidenceFile, void, undefined> {
  for (const { kind, path } of questions) {
    const readAt = now();
    try {
      const { status, body } = await withinTime(envoy.get(path));
      if (status !== 200) yield { kind, status: 'failed', readAt, reason: `Envoy answers ${status}` };
      else if (body.length === 0) yield { kind, status: 'empty', readAt };
      else {
        await hideSecrets(body);
        yield { kind, status: 'ok', readAt, bytes: body };
      }
    } catch (error) {
      yield { kind, status: 'failed', readAt, reason: errorText(error).slice(0, 1000) };
      if (kind === questions[0]!.kind) return;
    }
  }
}

async function withinTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      answer,
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`Envoy did not answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
