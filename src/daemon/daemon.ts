/**
 * The daemon of one node: the probe's frames and readings into the engine, the engine's records onto the stream. This file puts the parts together and holds their order of beginning and ending;
 * it needs no capability, and no parent that has one where the probe runs beside it.
 *
 * Beginning: the stream listens first, so that who connects hears everything; then names, then the probe. Ending (within 5 s): captures are drained, flows told, the stream says goodbye.
 */
import { randomInt } from 'node:crypto';
import type { TotalRecord } from '../record/record.ts';
import type { StreamServerOptions } from '../stream/server.ts';
import { StreamServer } from '../stream/server.ts';
import { authenticatorsOf } from './access.ts';
import { TickClock } from './clock.ts';
import { type DaemonConfig, parseListen } from './config.ts';
import { Engine } from './engine/engine.ts';
import type { EngineNamespace } from './engine/engine-namespace.ts';
import { AdminSlots } from './envoy/slots.ts';
import { EnvoyWatch } from './envoy/watch.ts';
import { addEvidenceRoutes } from './evidence/routes.ts';
import { type HealthServer, type Readiness, serveHealth } from './health.ts';
import { openKube } from './kube/open.ts';
import { type KubeSource, podOf } from './kube/source.ts';
import type { DaemonLog } from './log.ts';
import { type DaemonMetrics, type Exposition, exposeMetrics } from './metrics.ts';
import type { FollowedNamespace } from './node/followed-namespace.ts';
import { NodeFollower } from './node/follower.ts';
import { ownProbe, type ProbePlace } from './node/probe-connection.ts';
import { ProbeLink } from './node/probe-link.ts';
import { Outlet } from './outlet.ts';
import { pauseAfter } from './pace.ts';
import { copyCounters } from './scrape.ts';
import { statusOf } from './status.ts';

interface Watched {
  readonly followed: FollowedNamespace;
  readonly envoy: EnvoyWatch;
  readonly sinceNs: number;
}

export interface DaemonOptions {
  readonly config: DaemonConfig;
  readonly log: DaemonLog;
  readonly metrics: DaemonMetrics;
  readonly version: string;
  readonly environment: NodeJS.ProcessEnv;
}

/** What may wait for one reader of packets. */
const PACKET_QUEUE_BYTES = 16 * 1024 * 1024;

export class Daemon {
  readonly server: StreamServer;
  readonly #options: DaemonOptions;
  readonly #clock = new TickClock();
  readonly #beganNs: number;
  readonly #link: ProbeLink;
  readonly #kube: KubeSource;
  readonly #engine: Engine;
  readonly #outlet: Outlet;
  readonly #follower: NodeFollower<EngineNamespace>;
  readonly #exposition: Exposition;
  /** Connections to Envoys, of all namespaces together. */
  readonly #slots = new AdminSlots();
  readonly #watched = new Map<bigint, Watched>();
  readonly #views = new Map<bigint, EngineNamespace>();
  #health: HealthServer | undefined;
  /** What was asked of Envoys that are gone. */
  readonly #envoysGone = { same: 0, changed: 0, failed: 0, dumpBytes: 0 };
  #tick: NodeJS.Timeout | undefined;
  #stopping: Promise<TotalRecord> | undefined;

  /** @throws {Error} for files and addresses that cannot be used; nothing has begun then */
  constructor(options: DaemonOptions) {
    this.#options = options;
    const { config, log, metrics, environment } = options;
    const { base } = this.#clock;
    this.#beganNs = this.#clock.nowNs();
    const kube = openKube(
      {
        from: config.kubernetes.source,
        ...(config.kubernetes.kubeconfig === '' ? {} : { kubeconfig: [config.kubernetes.kubeconfig] }),
        ...(config.kubernetes.context === '' ? {} : { context: config.kubernetes.context }),
        files: Object.values(config.kubernetes.files).filter((path) => path !== ''),
        node: config.node,
        allPods: config.kubernetes.allPods,
        log: log.child('kubernetes'),
      },
      environment,
    );
    this.#kube = kube.source;
    this.server = new StreamServer(serverOptions(options, authenticatorsOf(config, kube.api), kube.source));
    this.#outlet = new Outlet(metrics, (records) => this.server.publish(records));
    this.#engine = new Engine(
      {
        node: config.node,
        redact: config.records.redact,
        base,
        seed: randomInt(2 ** 32) | 0,
        settleNs: config.records.settleMs * 1e6,
        updateNs: config.records.updateMs * 1e6,
        flowsMax: config.flows.max,
      },
      this.#outlet.write,
    );
    this.#link = new ProbeLink({ place: placeOf(config), log: log.child('probe') });
    this.#follower = new NodeFollower<EngineNamespace>({
      link: this.#link,
      engine: {
        open: (cookie, world) => {
          const view = this.#engine.open(cookie, world);
          this.#views.set(cookie, view);
          return view;
        },
        close: (view) => {
          this.#views.delete(view.cookie);
          this.#engine.close(view);
        },
        lose: (loss, scope) => this.#engine.lose(loss, scope),
      },
      base,
      config: { node: config.node, ...config.probe, home: config.namespaces.home },
      log,
      names: () => this.#kube.view.names,
      podOf: (addresses, bornMs) => podOf(this.#kube.view, addresses, bornMs),
      onNamespace: (followed) => this.#begin(followed),
      onGone: (followed) => this.#end(followed),
    });
    this.#exposition = exposeMetrics(metrics, options.version);
    metrics.onScrape.push(() =>
      copyCounters(
        metrics,
        {
          engine: this.#engine,
          follower: this.#follower,
          flowsOpen: () => this.#flowsOpen(),
          link: this.#link,
          server: this.server,
          envoys: () => [this.#envoysGone, ...[...this.#watched.values()].map(({ envoy }) => envoy.counters)],
          kubernetes: this.#kube.view,
          log,
        },
        Date.now(),
      ),
    );
    this.server.handle('GET', '/v1/status', 'status', () => ({ type: 'application/json', body: `${JSON.stringify(this.status())}\n` }));
    addEvidenceRoutes(this.server, {
      node: config.node,
      version: options.version,
      namespaces: () => [...this.#watched.values()].map(({ followed }) => followed),
      envoyOf: ({ cookie }) => {
        const envoy = this.#watched.get(cookie)?.envoy;
        return envoy === undefined ? undefined : { ports: config.envoy.ports, get: (path) => envoy.get(path) };
      },
      names: () => this.#kube.view.names,
      now: () => Date.now(),
      kernelLost: ({ cookie }) => this.#watched.get(cookie)?.followed.counters.dropped ?? 0,
      capture: { snapLength: config.probe.snapLength, filter: config.probe.filter },
      packetQueueBytes: PACKET_QUEUE_BYTES,
      onPacketsRead: (about) => log.info(about, 'packets were handed out'),
    });
  }

  /** @throws {Error} when it cannot listen */
  async start(): Promise<void> {
    const { config, log } = this.#options;
    if (config.health.listen !== '')
      this.#health = await serveHealth({ listen: config.health.listen, ready: () => this.#ready(), metrics: this.#exposition });
    try {
      await this.server.listen(config.stream.listen.map((address) => parseListen(address)!));
    } catch (error) {
      await this.#health?.close();
      throw error;
    }
    this.#look(0);
    this.#kube.onChange(() => this.#follower.findPods());
    this.#kube.start();
    this.#link.start();
    void this.#follower.start().then(() => log.info({ namespaces: this.#watched.size }, 'captures are open'));
    log.info({ stream: config.stream.listen, health: config.health.listen }, 'the daemon has begun');
  }

  /** Drains what is captured, tells it, says goodbye. Called again it waits for the same end. */
  stop(): Promise<TotalRecord> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  status() {
    return statusOf({
      node: this.#options.config.node,
      version: this.#options.version,
      base: this.#clock.base,
      beganNs: this.#beganNs,
      nowNs: this.#clock.nowNs(),
      namespaces: [...this.#watched.values()].map(({ followed, sinceNs }) => ({
        followed,
        view: this.#views.get(followed.cookie),
        sinceNs,
      })),
      engine: this.#engine,
      server: this.server,
      link: this.#link,
      ringBytes: this.#follower.ringBytes,
      kube: this.#kube.view,
    });
  }

  async #stop(): Promise<TotalRecord> {
    await this.#follower.stop();
    clearTimeout(this.#tick);
    const totals = this.#engine.finish(this.#clock.nowNs());
    this.#outlet.flush();
    this.#link.stop();
    await Promise.all([this.server.close(totals), this.#kube.stop(), this.#health?.close()]);
    this.#exposition.close();
    return totals;
  }

  #look(tookMs: number): void {
    this.#tick = setTimeout(() => {
      const begun = performance.now();
      this.#run();
      this.#look(performance.now() - begun);
    }, pauseAfter(tookMs));
  }

  #run(): void {
    try {
      this.#engine.tick(this.#clock.nowNs());
    } catch (error) {
      this.#options.log.error({ err: error }, 'what came could not be told');
    }
    this.#outlet.flush();
  }

  #begin(followed: FollowedNamespace): void {
    const { config, log } = this.#options;
    const envoy = new EnvoyWatch({
      open: (port) => followed.tunnel(port),
      world: followed.world,
      slots: this.#slots,
      ports: config.envoy.ports,
      intervalMs: config.envoy.intervalMs,
      maxDumpBytes: config.envoy.maxDumpBytes,
      log: log.child('envoy', { netns: followed.netns }),
    });
    this.#watched.set(followed.cookie, { followed, envoy, sinceNs: this.#clock.nowNs() });
    envoy.start();
  }

  #end(followed: FollowedNamespace): void {
    const envoy = this.#watched.get(followed.cookie)?.envoy;
    void envoy?.stop();
    for (const name of ['same', 'changed', 'failed', 'dumpBytes'] as const) this.#envoysGone[name] += envoy?.counters[name] ?? 0;
    this.#watched.delete(followed.cookie);
  }

  #ready(): Readiness {
    const { reason, hello } = this.#link;
    if (hello === undefined) return { ready: false, reasons: [`the probe does not answer${reason === '' ? '' : `: ${reason}`}`] };
    const all = [...this.#watched.values()];
    const capturing = all.filter(({ followed }) => followed.status === 'capturing').length;
    const ready = all.length === 0 || capturing > 0;
    return { ready, reasons: [`${capturing} of ${all.length} namespaces are captured`] };
  }

  #flowsOpen(): number {
    let sum = 0;
    for (const view of this.#views.values()) sum += view.flowCount;
    return sum;
  }
}

function placeOf({ probe, namespaces }: DaemonConfig): ProbePlace {
  if (probe.spawn === '') return { socket: probe.socket };
  return ownProbe(probe.spawn, { netnsFolder: namespaces.directory, ringBudget: probe.ringBudget, processes: namespaces.processes });
}

function serverOptions(
  { config, log, version }: DaemonOptions,
  authenticators: NonNullable<StreamServerOptions['authenticators']>,
  kube: KubeSource,
): StreamServerOptions {
  const { tls, origins, ringBytes, subscriberQueueBytes, sharedQueueBytes, maxSubscribers } = config.stream;
  return {
    node: config.node,
    software: `sidetrace ${version}`,
    authenticators,
    origins,
    ringBytes,
    queueBytes: subscriberQueueBytes,
    sharedQueueBytes,
    limits: { connections: maxSubscribers },
    log: log.child('stream'),
    labelsOf: (pod) => {
      const slash = pod.indexOf('/');
      const known = kube.view.names.podByName(pod.slice(0, slash), pod.slice(slash + 1));
      return known === undefined ? undefined : Object.fromEntries(known.labels);
    },
    ...(tls.cert === '' ? {} : { tls: { cert: tls.cert, key: tls.key, ...(tls.clientCa === '' ? {} : { clientCa: tls.clientCa }) } }),
  };
}
