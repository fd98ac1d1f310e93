/**
 * A way to a port of a pod through the API server, where nothing else leads there: a port of this machine for each pod, each connection to it a WebSocket to the pod's `portforward`.
 *
 * Subprotocol `v4.channel.k8s.io`: each message begins with the number of its channel, 0 for data and 1 for errors; the first of each channel holds the port as two bytes, little-endian.
 * Source: k8s.io/kubelet pkg/cri/streaming/portforward/websocket.go, k8s.io/apimachinery pkg/util/httpstream/wsstream.
 */
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { KubeCluster } from '../daemon/kube/kubeconfig.ts';
import { listOf, objectOf, textOf } from '../kube/fields.ts';
import { errorText } from '../net/error-text.ts';
import { complain } from './failure.ts';
import { openPodSocket } from './pod-socket.ts';

const PROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const ERROR = 1;
/** Bytes that may wait on the way to the API server before the local side is not read any more. */
const AHEAD_BYTES = 1024 * 1024;
/** Bytes of the local side that are taken before the way is open. */
const EARLY_BYTES = 64 * 1024;
/** At once, to one pod. */
const CONNECTIONS_MAX = 64;
/** Of a WebSocket that ended as it should: normal closure, and no code. Source: RFC 6455 section 7.4.1. */
const USUAL_CODES: ReadonlySet<number> = new Set([1000, 1005]);
const PODS_MAX = 256;

export interface ForwardedPod {
  readonly namespace: string;
  readonly name: string;
}

/** The pods of a list that run, in the order of the list. @param value a PodList */
export function runningPods(value: unknown): ForwardedPod[] {
  return listOf(objectOf(value).items, PODS_MAX).flatMap((item) => {
    const { metadata, status } = objectOf(item);
    const [namespace, name] = [textOf(objectOf(metadata).namespace), textOf(objectOf(metadata).name)];
    const runs = textOf(objectOf(status).phase) === 'Running' && objectOf(metadata).deletionTimestamp === undefined;
    return runs && namespace !== undefined && name !== undefined ? [{ namespace, name }] : [];
  });
}

export class PortForward {
  readonly #cluster: KubeCluster;
  readonly #pod: ForwardedPod;
  readonly #port: number;
  readonly #server: NetServer;
  readonly #open = new Set<WebSocket>();
  #closed = false;

  /** @param port of the pod */
  constructor(cluster: KubeCluster, pod: ForwardedPod, port: number) {
    this.#cluster = cluster;
    this.#pod = pod;
    this.#port = port;
    this.#server = createServer({ allowHalfOpen: false }, (socket) => void this.#forward(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @returns the port of 127.0.0.1 that leads to the pod */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host: '127.0.0.1', port: 0 }, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#closed = true;
    this.#server.close();
    for (const socket of this.#open) socket.terminate();
  }

  async #forward(local: Socket): Promise<void> {
    local.on('error', () => {});
    // It is read while the way is opened, so that one who gives up is seen to.
    const early: Buffer[] = [];
    let length = 0;
    const gather = (bytes: Buffer): void => {
      early.push(bytes);
      length += bytes.length;
      if (length > EARLY_BYTES) local.pause();
    };
    local.on('data', gather);
    const { namespace, name } = this.#pod;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/portforward?ports=${this.#port}`;
    try {
      const remote = await openPodSocket(this.#cluster, path, PROTOCOL, this.#open);
      if (this.#closed || local.destroyed) remote.terminate();
      else if (remote.readyState !== remote.OPEN) this.#fail(local, 'the connection was closed');
      else {
        local.off('data', gather);
        this.#join(local, remote, early);
      }
    } catch (error) {
      this.#fail(local, errorText(error));
    }
  }

  /** @param early what came from the local side before */
  #join(local: Socket, remote: WebSocket, early: readonly Buffer[]): void {
    local.on('error', () => remote.terminate());
    local.on('close', () => {
      // What is paused would not see the other side's farewell.
      remote.resume();
      remote.close();
    });
    const send = (bytes: Buffer): void => {
      if (remote.readyState !== remote.OPEN) return;
      remote.send(Buffer.concat([Buffer.of(DATA), bytes]), { binary: true }, () => {
        if (remote.bufferedAmount <= AHEAD_BYTES) local.resume();
      });
      if (remote.bufferedAmount > AHEAD_BYTES) local.pause();
    };
    for (const bytes of early) send(bytes);
    local.on('data', send);
    const begun = new Set<number>();
    remote.on('message', (data: RawData) => {
      const bytes = data as Buffer;
      const channel = bytes[0];
      if (channel !== DATA && channel !== ERROR) return;
      const rest = bytes.subarray(1);
      if (!begun.has(channel)) {
        begun.add(channel);
        if (rest.length !== 2 || rest.readUInt16LE(0) !== this.#port) {
          this.#fail(
            local,
            `the port ${this.#port} is wanted at the beginning of channel ${channel}, ${rest.length} bytes of something else came`,
          );
          remote.terminate();
        }
        return;
      }
      if (channel === ERROR) this.#fail(local, rest.toString('utf8').slice(0, 500));
      else if (!local.destroyed && !local.write(rest)) remote.pause();
    });
    local.on('drain', () => remote.resume());
    remote.on('error', (error) => this.#fail(local, error.message));
    remote.on('close', (code: number, reason: Buffer) => {
      if (!local.destroyed && !local.readableEnded && !USUAL_CODES.has(code))
        this.#tell(`the connection was closed with code ${code}${reason.length === 0 ? '' : `, ${reason}`}`);
      local.end();
      // Until the other side has read the end, too.
      local.resume();
    });
    remote.resume();
    local.resume();
  }

  #fail(local: Socket, reason: string): void {
    if (local.destroyed) return;
    local.destroy();
    this.#tell(reason);
  }

  #tell(reason: string): void {
    if (this.#closed) return;
    complain(`Cannot reach port ${this.#port} of pod ${this.#pod.namespace}/${this.#pod.name} through ${this.#cluster.name}: ${reason}`);
  }
}
