/** A WebSocket to a pod through the API server, opened with the credentials of the moment. */
import type { IncomingMessage } from 'node:http';
import { type ClientOptions, WebSocket } from 'ws';
import { KubeApiError, saidBy } from '../daemon/kube/api-error.ts';
import { type Credentials, readCredentials, sameCredentials, tlsOptions } from '../daemon/kube/credentials.ts';
import type { KubeCluster } from '../daemon/kube/kubeconfig.ts';

const OPEN_MS = 15_000;
const REFUSAL_MS = 5000;
const REFUSAL_BYTES_MAX = 64 * 1024;
const MESSAGE_BYTES_MAX = 1024 * 1024;

/**
 * Asked again once, with other credentials, where the API server does not know them.
 *
 * @param path with query
 * @param open holds it from the first attempt until it is closed, so that all may be ended
 * @returns open and paused
 * @throws {KubeApiError} with its status where the API server answers that it may not be
 */
export async function openPodSocket(cluster: KubeCluster, path: string, protocol: string, open: Set<WebSocket>): Promise<WebSocket> {
  const credentials = await readCredentials(cluster);
  try {
    return await connect(cluster, path, protocol, credentials, open);
  } catch (error) {
    if (!(error instanceof KubeApiError) || error.status !== 401) throw error;
    const others = await readCredentials(cluster, credentials);
    if (sameCredentials(others, credentials)) throw error;
    return await connect(cluster, path, protocol, others, open);
  }
}

function connect(cluster: KubeCluster, path: string, protocol: string, credentials: Credentials, open: Set<WebSocket>): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${cluster.server.replace(/^http/, 'ws')}${path}`, protocol, optionsOf(cluster, credentials));
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.once('open', () => {
      socket.pause();
      resolve(socket);
    });
    socket.on('error', (error) => reject(new KubeApiError(error.message)));
    socket.on('unexpected-response', async (_request, response) => {
      const said = await beginningOf(response);
      reject(new KubeApiError(`the API server answers ${response.statusCode}${said === '' ? '' : `, ${said}`}`, response.statusCode));
      socket.terminate();
    });
  });
}

/** What an answer says against it, as far as it comes. */
async function beginningOf(response: IncomingMessage): Promise<string> {
  const late = setTimeout(() => response.destroy(), REFUSAL_MS);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > REFUSAL_BYTES_MAX) break;
    }
  } catch {
    // The status says enough.
  } finally {
    clearTimeout(late);
  }
  return saidBy(Buffer.concat(chunks));
}

function optionsOf(cluster: KubeCluster, credentials: Credentials): ClientOptions {
  const { token } = credentials;
  return {
    ...tlsOptions(cluster, credentials),
    handshakeTimeout: OPEN_MS,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
  };
}
