/** A follower over a real probe for the tests, with an engine that only records what reaches its boundary. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLog } from '../../../src/daemon/log.ts';
import type { FollowerEngine } from '../../../src/daemon/node/engine-boundary.ts';
import type { FollowedNamespace } from '../../../src/daemon/node/followed-namespace.ts';
import { type FollowerConfig, type FollowerDependencies, NodeFollower } from '../../../src/daemon/node/follower.ts';
import { ProbeLink } from '../../../src/daemon/node/probe-link.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import type { Loss } from '../../../src/record/lost.ts';
import type { LostRecord } from '../../../src/record/record.ts';
import { walkFrames } from '../../../src/source/probe-protocol.ts';
import type { LiveWorld } from '../../../src/world/live.ts';

/** What the engine was told of one namespace. */
export interface RecordedView {
  readonly world: LiveWorld;
  frames: number;
  /** Numbers of the datagrams that the tests send, in the order of arrival. */
  readonly numbers: number[];
  closed: boolean;
  observeProbeFrames(payload: Uint8Array): void;
}

export type Lost = Loss & { readonly scope: LostRecord['scope'] };

const SLL2_BYTES = 20;

export class RecordingEngine implements FollowerEngine<RecordedView> {
  readonly views = new Map<string, RecordedView>();
  readonly losses: Lost[] = [];
  /** Stands in for an engine that takes its time: milliseconds for each payload. */
  busyMs = 0;

  open(_cookie: bigint, world: LiveWorld): RecordedView {
    const view: RecordedView = {
      world,
      frames: 0,
      numbers: [],
      closed: false,
      observeProbeFrames: (payload) => {
        assert.ok(!view.closed, 'no frame comes after the end');
        const data = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
        walkFrames(payload, ({ offset, capturedLength }) => {
          view.frames++;
          const at = offset + SLL2_BYTES + 20 + 8;
          // UDP over IPv4 to port 9: the sender's number.
          if (capturedLength >= at - offset + 8 && payload[offset + SLL2_BYTES + 9] === 17 && data.getUint16(at - 6) === 9)
            view.numbers.push(data.getUint32(at + 4));
        });
        for (const end = performance.now() + this.busyMs; performance.now() < end; );
      },
    };
    this.views.set(world.netns, view);
    return view;
  }

  close(view: RecordedView): void {
    view.closed = true;
  }

  lose(loss: Loss, scope: LostRecord['scope']): void {
    this.losses.push({ ...loss, scope });
  }

  lost(source: string, netns?: string): number {
    return this.losses.filter((one) => one.source === source && one.scope.netns === netns).reduce((sum, { count }) => sum + count, 0);
  }
}

export interface Following {
  readonly link: ProbeLink;
  readonly engine: RecordingEngine;
  readonly follower: NodeFollower<RecordedView>;
  /** Cookies in the order of `onNamespace` and `onGone`. */
  readonly came: FollowedNamespace[];
  readonly went: FollowedNamespace[];
  of(netns: string): FollowedNamespace;
  stop(): Promise<void>;
}

const running = new Set<Following>();

export async function stopFollowing(): Promise<void> {
  for (const one of [...running]) await one.stop();
}

/** @param netns which are followed: others on this machine are not ours */
export function follow(
  place: ConstructorParameters<typeof ProbeLink>[0]['place'],
  netns: (name: string) => boolean,
  settings: Partial<FollowerConfig> & Pick<Partial<FollowerDependencies>, 'podOf'> = {},
): Following {
  const sink = { writableLength: 0, write: (line: string) => process.env.SIDETRACE_TEST_LOG !== undefined && process.stderr.write(line) };
  const log = openLog({ level: 'debug', node: 'test', sink: sink as never });
  const link = new ProbeLink({ place, log });
  const engine = new RecordingEngine();
  const came: FollowedNamespace[] = [];
  const went: FollowedNamespace[] = [];
  const { podOf, ...config } = settings;
  const names = new KubeNames();
  const follower = new NodeFollower<RecordedView>({
    link,
    engine,
    base: { epochSeconds: Math.floor(Date.now() / 1000) },
    config: { node: 'test', ringBudget: 64 * 1024 * 1024, snapLength: 65_535, filter: '', home: false, ...config },
    log,
    names: () => names,
    podOf: podOf ?? (() => undefined),
    follow: ({ name }) => netns(name),
    onNamespace: (namespace) => came.push(namespace),
    onGone: (namespace) => went.push(namespace),
  });
  link.start();
  const following: Following = {
    link,
    engine,
    follower,
    came,
    went,
    of(name) {
      const found = follower.namespaces().find((one) => one.netns === name);
      assert.ok(found !== undefined, `${name} is followed`);
      return found;
    },
    async stop() {
      running.delete(following);
      await follower.stop();
      link.stop();
    },
  };
  running.add(following);
  return following;
}

export async function until(what: string, holds: () => boolean, milliseconds = 5000): Promise<void> {
  const limit = Date.now() + milliseconds;
  while (!holds()) {
    assert.ok(Date.now() < limit, `${what} within ${milliseconds} ms`);
    await sleep(1);
  }
}
