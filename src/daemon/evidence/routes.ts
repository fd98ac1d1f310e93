/** What a daemon answers beside its stream: evidence, packets, and Envoy's own answers, of one namespace or all. */

import { errorText } from '../../net/error-text.ts';
import { RouteError, type RouteHandler, type RouteRequest } from '../../stream/route.ts';
import { AdminPathError, checkAdminPath } from '../envoy/admin-path.ts';
import { type EvidenceNamespace, type EvidenceSources, evidenceArchive } from './evidence.ts';
import { packetStream } from './packet-stream.ts';
import { hideSecrets } from './secrets.ts';

export interface RouteSources extends EvidenceSources {
  /** Frames of this namespace for which the kernel had no room, since its capture began. */
  kernelLost(namespace: EvidenceNamespace): number;
  /** How the daemon captures: the streams of packets say so. */
  readonly capture: { readonly snapLength: number; readonly filter: string };
  /** Bytes that may wait for a reader of packets. */
  readonly packetQueueBytes: number;
  /** Told when somebody has been given packets. */
  onPacketsRead?(about: { readonly netns: string; readonly principal: string; readonly frames: number; readonly lost: number }): void;
}

export interface RouteTable {
  handle(method: 'GET', pattern: string, verb: 'evidence' | 'packets' | 'status', handler: RouteHandler): void;
}

/** Adds `/v1/pods`, `/v1/evidence`, and of `/v1/pods/NAMESPACE/NAME/` and `/v1/netns/NETNS/` each `evidence`, `packets`, `envoy/PATH`. */
export function addEvidenceRoutes(server: RouteTable, sources: RouteSources): void {
  server.handle('GET', '/v1/pods', 'status', () => ({
    type: 'application/json',
    body: `${JSON.stringify(sources.namespaces().map((one) => podEntry(one, sources.capture)))}\n`,
  }));
  server.handle('GET', '/v1/evidence', 'evidence', ({ signal }) => archive(sources, sources.namespaces(), signal, sources.node));
  for (const prefix of ['/v1/pods/{namespace}/{name}', '/v1/netns/{netns}']) {
    server.handle('GET', `${prefix}/evidence`, 'evidence', (request) => {
      const found = find(sources, request);
      return archive(sources, found, request.signal, nameOf(found[0]!).replace('/', '_'));
    });
    server.handle('GET', `${prefix}/packets`, 'packets', (request) => packets(sources, one(sources, request), request));
    server.handle('GET', `${prefix}/envoy/{path...}`, 'evidence', (request) => envoy(sources, one(sources, request), request));
  }
}

function podEntry(namespace: EvidenceNamespace, capture: RouteSources['capture']): object {
  const { cookie, netns, status, reason, world } = namespace;
  return {
    netns,
    cookie: cookie.toString(),
    ...(world.pod === undefined ? {} : { pod: world.pod }),
    state: status,
    ...(reason === undefined ? {} : { reason }),
    interfaces: world.interfaces,
    capture,
  };
}

function nameOf({ netns, world }: EvidenceNamespace): string {
  return world.pod === undefined ? netns : `${world.pod.namespace}/${world.pod.name}`;
}

/** A pod that is made anew has two namespaces for a moment: the one that is there comes first. */
function find(sources: EvidenceSources, { params }: RouteRequest): EvidenceNamespace[] {
  const wanted = params.netns ?? `${params.namespace}/${params.name}`;
  const found = sources
    .namespaces()
    .filter((one) => (params.netns === undefined ? one.world.pod !== undefined && nameOf(one) === wanted : one.netns === wanted))
    .sort((a, b) => Number(a.status === 'gone') - Number(b.status === 'gone'));
  if (found.length === 0)
    throw new RouteError(
      404,
      `"${wanted}" is not followed here: a ${params.netns === undefined ? 'pod of this node' : 'network namespace'} is wanted`,
    );
  return found;
}

function one(sources: EvidenceSources, request: RouteRequest): EvidenceNamespace {
  return find(sources, request)[0]!;
}

function archive(sources: EvidenceSources, namespaces: readonly EvidenceNamespace[], signal: AbortSignal, name: string) {
  return {
    type: 'application/x-tar',
    headers: { 'content-disposition': `attachment; filename="${name.replaceAll(/[^\w.-]/g, '_')}.tar"` },
    stream: evidenceArchive(sources, namespaces, signal),
  };
}

function packets(sources: RouteSources, namespace: EvidenceNamespace, { principal, signal }: RouteRequest) {
  if (namespace.status !== 'capturing' && namespace.status !== 'opening')
    throw new RouteError(409, `"${nameOf(namespace)}" is not captured: ${namespace.reason ?? namespace.status}`);
  const { filter, snapLength } = sources.capture;
  const who = principal.name;
  return {
    type: 'application/x-pcapng',
    stream: packetStream(
      namespace,
      {
        application: `sidetrace ${sources.version}`,
        snapLength,
        filter,
        comment: `${nameOf(namespace)} (${namespace.netns}) on ${sources.node}, for ${who}`,
        queueBytes: sources.packetQueueBytes,
        kernelLost: () => sources.kernelLost(namespace),
        onEnd: (totals) => sources.onPacketsRead?.({ netns: namespace.netns, principal: who, ...totals }),
        now: () => sources.now(),
      },
      signal,
    ),
  };
}

async function envoy(sources: EvidenceSources, namespace: EvidenceNamespace, { params, query }: RouteRequest) {
  const path = params.path ?? '';
  const asked = sources.envoyOf(namespace);
  if (asked === undefined) throw new RouteError(404, `no Envoy is known in "${nameOf(namespace)}"`);
  const words = query.toString();
  let answer: Awaited<ReturnType<typeof asked.get>>;
  try {
    answer = await asked.get(checkAdminPath(`/${path}${words === '' ? '' : `?${words}`}`));
  } catch (error) {
    if (error instanceof AdminPathError) throw new RouteError(403, error.message);
    throw new RouteError(502, errorText(error));
  }
  await hideSecrets(answer.body);
  return {
    status: answer.status,
    type: /^\s*[[{]/.test(head(answer.body)) ? 'application/json' : 'text/plain; charset=utf-8',
    body: answer.body,
  };
}

function head(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, Math.min(16, body.length)).toString('latin1');
}
