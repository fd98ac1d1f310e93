/** Random traffic in the lab (test/mesh/apps/random-traffic.mjs) from several clients at once, and what they say they did. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ended, type Lab, start } from './lab.ts';

/** One request, or one plain connection. */
export interface Done {
  readonly at: string;
  readonly ms: number;
  readonly phase: string;
  readonly kind: string;
  readonly local?: string;
  readonly remote?: string;
  readonly path?: string;
  readonly status?: number;
  readonly error?: string;
}

export interface Client {
  readonly name: string;
  /** argv of a program that runs where the client is. */
  enter(argv: readonly string[]): string[];
  readonly targets: unknown;
}

const mjs = '/opt/lab/apps/random-traffic.mjs';

/** What serves outside while the test runs: HTTP on 8081 and 8082, TLS on 8443. They end with the test. */
export function serveOutside(lab: Lab): void {
  const key = join(lab.folder, 'outside.key');
  const cert = join(lab.folder, 'outside.crt');
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=secure.example'];
  lab.mesh('outside', 'openssl', ...made, '-keyout', key, '-out', cert);
  const server = join(process.cwd(), 'test/mesh/apps/servers.mjs');
  for (const words of [
    ['http', '8081'],
    ['http', '8082'],
    ['tls', '8443', cert, key],
  ])
    start(lab.outside([process.execPath, server, ...words]));
}

/** The clients: three in the mesh that serve, too, on both nodes; one without a sidecar; one outside that comes by the gateway. */
export function clients(lab: Lab): Client[] {
  const pods = lab.pods();
  const address = (app: string) => {
    const pod = pods.find((one) => one.app === app);
    if (pod === undefined) throw new Error(`Cannot make traffic: the pod "${app}" must run, it is absent`);
    return pod.ip;
  };
  const gateway = `http://${address('istio-ingressgateway')}:8080/productpage`;
  const services = [
    ...['http://details:9080/details/0', 'http://ratings:9080/ratings/0', 'http://reviews:9080/reviews/0'],
    ...['http://productpage:9080/productpage', 'http://one:8080/x', 'http://two:8080/x'],
  ];
  const names = {
    service: services,
    pod: [`http://${address('details')}:9080/details/0`, `http://${address('ratings')}:9080/ratings/0`, `http://${address('two')}:8080/x`],
    closed: [`http://${address('details')}:9099/`, 'http://198.51.100.1:8099/', `http://${address('two')}:81/`],
    serverFirst: ['echo:9000'],
    clientFirst: ['listens:9001'],
    h2c: ['http://h2:7000'],
    gateway: [gateway, 'http://istio-ingressgateway.istio-system.svc.cluster.local/productpage'],
  };
  const outside = [
    { url: 'http://198.51.100.1:8081/y', host: 'api.example:8081' },
    { url: 'http://198.51.100.1:8081/y' },
    { url: 'http://198.51.100.1:8082/z' },
  ];
  const tls = ['secure.example', 'other.example'].map((name) => ({ host: '198.51.100.1', port: 8443, name }));
  const inMesh = ['one', 'two', 'three'].map((app): Client => {
    const pod = pods.find((one) => one.app === app)!;
    return {
      name: app,
      enter: (argv) => lab.inPod(pod, argv, 'app'),
      targets: {
        ...names,
        outside,
        tls,
        self: [`http://${app}:8080/me`, `http://${pod.ip}:8080/me`],
        loopback: ['http://127.0.0.1:8080/me'],
      },
    };
  });
  const outsider = pods.find((one) => one.app === 'outsider')!;
  return [
    ...inMesh,
    { name: 'outsider', enter: (argv) => lab.inPod(outsider, argv, 'app'), targets: { ...names, loopback: [], self: [] } },
    { name: 'outside', enter: (argv) => lab.outside(argv), targets: { gateway: [gateway] } },
  ];
}

/** All clients do `acts` each, `concurrent` at once among them all; one after another where it is 1. */
export async function make(
  all: readonly Client[],
  folder: string,
  phase: { name: string; acts: number; concurrent: number; seed: number },
): Promise<Done[]> {
  const run = async (client: Client, index: number, concurrent: number) => {
    const targets = join(folder, `targets.${client.name}.json`);
    writeFileSync(targets, JSON.stringify(client.targets));
    const out = join(folder, `did.${client.name}.${phase.name}.jsonl`);
    const words = [
      '--seed',
      `${phase.seed * 100 + index}`,
      '--acts',
      `${phase.acts}`,
      '--concurrent',
      `${concurrent}`,
      '--phase',
      phase.name,
    ];
    const program = client.name === 'outside' ? join(process.cwd(), 'test/mesh/apps/random-traffic.mjs') : mjs;
    const child = start(client.enter([process.execPath, program, ...words, '--targets', targets]), { out, error: `${out}.error` });
    const code = await ended(child, 240);
    if (code !== 0)
      throw new Error(
        `Cannot make traffic from "${client.name}": exit code 0 is wanted, it was ${code}: ${readFileSync(`${out}.error`, 'utf8').slice(-500)}`,
      );
    return readFileSync(out, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line): Done => JSON.parse(line));
  };
  if (phase.concurrent === 1) {
    const did: Done[] = [];
    for (const [index, client] of all.entries()) did.push(...(await run(client, index, 1)));
    return did;
  }
  const share = Math.ceil(phase.concurrent / all.length);
  return (await Promise.all(all.map((client, index) => run(client, index, share)))).flat();
}
