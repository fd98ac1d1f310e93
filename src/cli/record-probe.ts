/**
 * `sidetrace record --probe`: what a probe sees, as a bundle, without a daemon. Namespaces are followed as the daemon follows them, with the bundle in the place of the engine: it gets the
 * frames, and keeps them.
 */
import { AdminClient } from '../daemon/envoy/admin-client.ts';
import type { NamespaceAbout, RecordedNamespace } from '../daemon/evidence/bundle-folder.ts';
import { envoyEvidence, listens } from '../daemon/evidence/envoy-evidence.ts';
import { fileOfText } from '../daemon/evidence/evidence-file.ts';
import { kubeFiles } from '../daemon/evidence/kube-json.ts';
import { packetBlocks } from '../daemon/evidence/pcapng-frames.ts';
import { hideSecrets } from '../daemon/evidence/secrets.ts';
import { KubeconfigError } from '../daemon/kube/kubeconfig.ts';
import { openKube } from '../daemon/kube/open.ts';
import { type KubeSource, podOf, withoutKube } from '../daemon/kube/source.ts';
import type { Log, LogFields } from '../daemon/log.ts';
import type { EngineView, FollowerEngine } from '../daemon/node/engine-boundary.ts';
import type { FollowedNamespace } from '../daemon/node/followed-namespace.ts';
import { NodeFollower } from '../daemon/node/follower.ts';
import { describeProbe, type ProbePlace } from '../daemon/node/probe-connection.ts';
import { ProbeLink } from '../daemon/node/probe-link.ts';
import { errorText } from '../net/error-text.ts';
import type { Loss } from '../record/lost.ts';
import type { LostRecord } from '../record/record.ts';
import type { LiveWorld } from '../world/live.ts';
import { missingRights } from './doctor-checks.ts';
import { complain, InputError, UsageError } from './failure.ts';
import type { BegunRecording } from './record.ts';
import { RecordingRun, type RecordWish } from './recording-run.ts';

const READY_MS = 6000;
const NAMES_MS = 5000;
const NAMES_STEP_MS = 50;
const ENVOY_PORTS: readonly number[] = [15_000];
const ENVOY_ANSWER_LIMIT = 512 * 1024 * 1024;

export interface CaptureWish {
  /** pcap-filter(7), with numbers for names; '' everything. */
  readonly filter: string;
  readonly snapLength: number;
  /** Kernel memory of all rings; less where the probe allows less. */
  readonly ringBudget: number;
  /** Ask Envoy's admin interface? */
  readonly envoy: boolean;
  /** The name of this node. */
  readonly node: string;
  /** Where the names of pods and services come from. */
  readonly kubeconfig: string | undefined;
}

/** A namespace in the recording, as the follower sees it. */
interface RecorderView extends EngineView {
  readonly cookie: bigint;
  readonly world: LiveWorld;
  readonly recorded: RecordedNamespace | undefined;
  kernelLost: number;
}

/** @throws {InputError} when no probe answers */
export async function recordFromProbe(place: ProbePlace, wish: RecordWish, capture: CaptureWish): Promise<BegunRecording> {
  if (wish.pods.length > 0)
    throw new UsageError(
      'Cannot choose pods by name: a probe knows the names of namespaces only. --netns NAME chooses one, and a daemon (--server) knows pods',
    );
  const said: string[] = [];
  const log = quietLog((sentence) => {
    if (said.length < 100) said.push(sentence);
  });
  const link = new ProbeLink({ place, log });
  link.start();
  try {
    const hello = await link.ready(READY_MS);
    const missing = missingRights(hello.capabilities);
    if (missing.length > 0)
      throw new InputError(
        `Cannot record with ${describeProbe(place)}: SYS_ADMIN, NET_ADMIN and NET_RAW are wanted, it lacks ${missing.length} of them. "sidetrace doctor" tells more`,
      );
  } catch (error) {
    await link.stop();
    if (error instanceof InputError) throw error;
    throw new InputError(`Cannot record with ${describeProbe(place)}: an answer is wanted, ${said.at(-1) ?? errorText(error)}`, {
      cause: error,
    });
  }
  let kube: KubeSource | undefined;
  try {
    kube = await namesFrom(capture, log);
    const recording = new ProbeRecording(link, kube, wish, capture, log);
    await recording.begin();
    return recording;
  } catch (error) {
    await kube?.stop();
    await link.stop();
    throw error;
  }
}

/** Names, as far as they can be had within a few seconds; others come later. */
async function namesFrom({ kubeconfig, node }: CaptureWish, log: Log): Promise<KubeSource> {
  if (kubeconfig === undefined) return withoutKube();
  let source: KubeSource;
  try {
    ({ source } = openKube({ from: 'kubeconfig', kubeconfig: [kubeconfig], node, allPods: true, log }, process.env));
  } catch (error) {
    if (!(error instanceof KubeconfigError)) throw error;
    throw new InputError(error.message, { cause: error });
  }
  source.start();
  for (let waited = 0; !source.view.synced && waited < NAMES_MS; waited += NAMES_STEP_MS)
    await new Promise((resolve) => setTimeout(resolve, NAMES_STEP_MS));
  if (!source.view.synced)
    complain(`the cluster of "${kubeconfig}" has not told its pods and services within ${NAMES_MS / 1000} s: names come when they come`);
  return source;
}

class ProbeRecording implements BegunRecording {
  readonly run: RecordingRun;
  readonly #link: ProbeLink;
  readonly #kube: KubeSource;
  readonly #capture: CaptureWish;
  readonly #wish: RecordWish;
  readonly #follower: NodeFollower<RecorderView>;
  readonly #views = new Map<bigint, RecorderView>();
  #lost = 0;
  #starting: Promise<unknown>[] = [];
  #began = false;

  constructor(link: ProbeLink, kube: KubeSource, wish: RecordWish, capture: CaptureWish, log: Log) {
    this.#link = link;
    this.#kube = kube;
    this.#capture = capture;
    this.#wish = wish;
    this.run = new RecordingRun(wish, { node: capture.node, tools: {} });
    const follow = wish.netns;
    this.#follower = new NodeFollower<RecorderView>({
      link,
      engine: this.#engine(),
      base: { epochSeconds: Math.floor(Date.now() / 1000) },
      config: {
        node: capture.node,
        ringBudget: capture.ringBudget,
        snapLength: capture.snapLength,
        filter: capture.filter,
        // the namespace that the probe is in is recorded where it is asked for by name
        home: follow.length > 0,
      },
      log,
      names: () => kube.view.names,
      podOf: (addresses, bornMs) => podOf(kube.view, addresses, bornMs),
      ...(follow.length > 0 ? { follow: ({ name }: { name: string }) => follow.includes(name) } : {}),
      onNamespace: (namespace) => {
        if (this.#began) this.#starting.push(this.#evidence(namespace, 'start'));
      },
      onGone: (namespace) => this.#describe(namespace),
    });
  }

  /** All captures first, then the readings of each. */
  async begin(): Promise<void> {
    await this.#follower.start();
    this.#began = true;
    this.#kube.onChange(() => {
      this.#follower.findPods();
      for (const namespace of this.#follower.namespaces()) this.#describe(namespace);
    });
    if (this.#views.size === 0)
      complain(
        `nothing ${this.#wish.netns.length === 0 ? 'is there' : `of the name ${this.#wish.netns.join(', ')} is there`} now; what comes is recorded`,
      );
    for (const namespace of this.#follower.namespaces()) {
      if (namespace.status === 'failed') {
        const detail = `"${namespace.netns}" is not captured: ${namespace.reason ?? 'nobody says why'}`;
        complain(detail);
        this.run.bundle.lose({ source: 'capture', count: 1, exact: false, detail });
      }
      await this.#evidence(namespace, 'start');
    }
  }

  lost(): number {
    return this.#lost;
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#starting);
    if (this.run.failure === undefined)
      for (const namespace of this.#follower.namespaces()) if (namespace.status === 'capturing') await this.#evidence(namespace, 'end');
    const names = kubeFiles(this.#kube.view.names);
    for (const [name, bytes] of Object.entries(names ?? {})) this.run.keep(() => this.run.bundle.keepFile(name, bytes as Uint8Array));
    // drains the rings, and tells what was lost up to the last frame
    await this.#follower.stop();
    await Promise.all([this.#link.stop(), this.#kube.stop()]);
  }

  #engine(): FollowerEngine<RecorderView> {
    return {
      open: (cookie, world) => {
        const about: NamespaceAbout = { netns: world.netns, interfaces: [] };
        let recorded: RecordedNamespace | undefined;
        this.run.keep(() => {
          recorded = this.run.bundle.add(
            about,
            {
              about: {
                application: `sidetrace ${this.#wish.version}`,
                snapLength: this.#capture.snapLength,
                filter: this.#capture.filter,
                comment: `${world.netns} on ${this.#capture.node}, recorded by uid ${process.getuid?.() ?? '?'}`,
              },
              rotation: this.#wish.rotation,
            },
            Date.now(),
          );
        });
        const view: RecorderView = {
          cookie,
          world,
          recorded,
          kernelLost: 0,
          observeProbeFrames: (payload) => {
            const { blocks, frames } = packetBlocks(payload);
            if (view.recorded === undefined) this.#lost += frames;
            else this.run.write(view.recorded, blocks, frames);
          },
        };
        this.#views.set(cookie, view);
        return view;
      },
      close: (view) => {
        this.#views.delete(view.cookie);
      },
      lose: (loss, scope) => this.#lose(loss, scope),
    };
  }

  /** Frames that the ring had no room for stand in the packet file; all else in bundle.json. */
  #lose({ source, count, exact, detail }: Omit<Loss, 'atNs'>, { netns }: LostRecord['scope']): void {
    const view = [...this.#views.values()].find(({ world }) => world.netns === netns);
    if (source === 'kernel_ring' && exact && view?.recorded?.packets !== undefined) {
      view.kernelLost += count;
      view.recorded.packets.lost({ kernel: view.kernelLost, reader: 0 });
      this.#lost += count;
      return;
    }
    // the end of a gap is no loss
    if (count === 0) return;
    this.#lost += count;
    this.run.bundle.lose({ source, count, exact, detail: `${netns === undefined ? '' : `${netns}: `}${detail}` });
  }

  #describe(namespace: Pick<FollowedNamespace, 'cookie' | 'world'>): void {
    const recorded = this.#views.get(namespace.cookie)?.recorded ?? this.#known.get(namespace.cookie);
    if (recorded === undefined) return;
    this.#known.set(namespace.cookie, recorded);
    const interfaces = namespace.world.interfaces.map(({ index, name, addresses }) => ({ index, name, addresses: [...addresses] }));
    const { pod } = namespace.world;
    const about = {
      ...recorded.about,
      ...(interfaces.length > 0 ? { interfaces } : {}),
      ...(pod === undefined ? {} : { pod: { ...pod } }),
    };
    this.run.bundle.describe(recorded, about);
  }
  readonly #known = new Map<bigint, RecordedNamespace>();

  async #evidence(namespace: FollowedNamespace, label: string): Promise<void> {
    const recorded = this.#views.get(namespace.cookie)?.recorded;
    if (recorded === undefined) return;
    this.#known.set(namespace.cookie, recorded);
    try {
      let envoyListens = false;
      for (const text of await namespace.readTexts()) {
        // asking where nobody listens would stand in the recording as a refused connection
        if (text.kind === 'sockets') envoyListens = listens(text.text ?? '', ENVOY_PORTS);
        const file = fileOfText(text);
        if (file.bytes !== undefined) await hideSecrets(file.bytes);
        this.run.keep(() => this.run.bundle.keep(recorded, [file], label));
      }
      this.#describe(namespace);
      if (!this.#capture.envoy || !envoyListens) return;
      const client = new AdminClient({ open: (port) => namespace.tunnel(port) });
      const envoy = { ports: ENVOY_PORTS, get: (path: string) => client.get(ENVOY_PORTS[0]!, path, ENVOY_ANSWER_LIMIT) };
      for await (const file of envoyEvidence(envoy, () => new Date().toISOString())) {
        this.run.keep(() => this.run.bundle.keep(recorded, [file], label));
      }
    } catch (error) {
      if (namespace.status === 'gone') return;
      this.run.bundle.lose({
        source: 'evidence',
        count: 1,
        exact: true,
        detail: `The evidence of "${namespace.netns}" could not be read at the ${label}: ${errorText(error)}`,
      });
    }
  }
}

/** What the follower warns of, as sentences; the rest is nobody's interest here. */
function quietLog(say: (sentence: string) => void): Log {
  const loud = (fields: LogFields | string, message?: string): void => {
    if (typeof fields === 'string') say(fields);
    else say([message, ...Object.values(fields).map(String)].join(': '));
  };
  const quiet = (): void => {};
  const log: Log = { trace: quiet, debug: quiet, info: quiet, warn: loud, error: loud, fatal: loud, child: () => log };
  return log;
}
