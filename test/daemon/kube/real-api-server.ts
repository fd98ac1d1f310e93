/** A real kube-apiserver with its etcd, on loopback, as the lab builds them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request as requestHttps } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { KubeCluster } from '../../../src/daemon/kube/kubeconfig.ts';
import { labProgram, needsLabPrograms } from '../../lab-programs.ts';
import { type Authority, makeAuthority } from './certificates.ts';

export function needsApiServer(): { skip: string | false } {
  return needsLabPrograms('kube-apiserver', 'etcd');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class RealApiServer {
  readonly authority: Authority = makeAuthority('real-ca');
  readonly adminToken = 'admin-of-a-test';
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  #port = 0;
  #etcdPort = 0;

  async start(): Promise<void> {
    const { authority } = this;
    authority.issue('api', '/CN=kube-apiserver', 'DNS:kubernetes.default.svc,IP:10.96.0.1,IP:127.0.0.1');
    authority.issue('node', '/O=system:masters/CN=someone');
    authority.issue('sa', '/CN=sa');
    writeFileSync(join(authority.folder, 'tokens.csv'), `${this.adminToken},admin,admin,system:masters\nplain-token,plain,plain\n`, {
      mode: 0o600,
    });
    this.#port = await freePort();
    this.#etcdPort = await freePort();
    const peer = `http://127.0.0.1:${await freePort()}`;
    const client = `http://127.0.0.1:${this.#etcdPort}`;
    this.#etcd = this.#spawn('etcd', [
      ...['--data-dir', join(authority.folder, 'etcd'), '--listen-client-urls', client, '--advertise-client-urls', client],
      ...[
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `default=${peer}`,
        '--unsafe-no-fsync',
        '--log-level',
        'error',
      ],
    ]);
    await this.startServer();
  }

  async startServer(): Promise<void> {
    const at = (name: string) => join(this.authority.folder, name);
    this.#server = this.#spawn('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      ...['--bind-address=127.0.0.1', '--advertise-address=10.10.0.1', `--secure-port=${this.#port}`],
      ...[`--tls-cert-file=${at('api.crt')}`, `--tls-private-key-file=${at('api.key')}`, `--client-ca-file=${at('ca.crt')}`],
      ...['--service-cluster-ip-range=10.96.0.0/16', '--authorization-mode=RBAC', `--token-auth-file=${at('tokens.csv')}`],
      ...[
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-signing-key-file=${at('sa.key')}`,
        `--service-account-key-file=${at('sa.crt')}`,
      ],
      ...[
        '--api-audiences=https://kubernetes.default.svc',
        '--endpoint-reconciler-type=none',
        '--disable-admission-plugins=ServiceAccount',
      ],
      ...['--max-requests-inflight=1000', '--max-mutating-requests-inflight=1000'],
    ]);
    for (const endMs = Date.now() + 90_000; Date.now() < endMs; ) {
      if (this.#server.exitCode !== null) throw new Error('the API server has ended');
      if ((await this.call('GET', '/readyz').catch(() => undefined))?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    throw new Error('the API server did not get ready within 90 s');
  }

  async stopServer(): Promise<void> {
    await end(this.#server);
  }

  async stop(): Promise<void> {
    await end(this.#server);
    await end(this.#etcd);
    this.authority.remove();
  }

  cluster(more: Partial<KubeCluster> = {}): KubeCluster {
    return {
      name: 'a test',
      server: `https://127.0.0.1:${this.#port}`,
      insecure: false,
      ca: { file: join(this.authority.folder, 'ca.crt') },
      token: { text: this.adminToken },
      ...more,
    };
  }

  call(method: string, path: string, body?: unknown): Promise<{ status: number; value: unknown }> {
    return new Promise((resolve, reject) => {
      const request = requestHttps(
        `https://127.0.0.1:${this.#port}${path}`,
        {
          method,
          ca: this.authority.ca,
          headers: {
            authorization: `Bearer ${this.adminToken}`,
            'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
          },
        },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, value: text.startsWith('{') ? JSON.parse(text) : text }));
        },
      );
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** As {@link call}, or an error. */
  async must(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, value } = await this.call(method, path, body);
    if (status > 299) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(value).slice(0, 300)}`);
    return value;
  }

  #spawn(name: string, args: string[]): ChildProcess {
    return spawn(labProgram(name), args, { stdio: 'ignore' });
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}
