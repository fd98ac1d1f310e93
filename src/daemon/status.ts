/** What `GET /v1/status` answers, put together from the parts. */
import { formatTime, type TimeBase } from '../net/time.ts';
import type { StreamServer } from '../stream/server.ts';
import type { DaemonStatus, NamespaceStatus } from '../stream/status-shape.ts';
import type { Engine } from './engine/engine.ts';
import type { EngineNamespace } from './engine/engine-namespace.ts';
import type { KubeView } from './kube/source.ts';
import type { FollowedNamespace } from './node/followed-namespace.ts';
import type { ProbeLink } from './node/probe-link.ts';

export interface StatusParts {
  readonly node: string;
  readonly version: string;
  readonly base: TimeBase;
  readonly beganNs: number;
  readonly nowNs: number;
  readonly namespaces: readonly {
    readonly followed: FollowedNamespace;
    readonly view: EngineNamespace | undefined;
    readonly sinceNs: number;
  }[];
  readonly engine: Engine;
  readonly server: StreamServer;
  readonly link: ProbeLink;
  readonly ringBytes: number;
  readonly kube: KubeView;
}

export function statusOf(parts: StatusParts): DaemonStatus {
  const { base, server, kube, link } = parts;
  const { state } = server;
  return {
    node: parts.node,
    version: parts.version,
    boot: server.hub.boot,
    began: formatTime(base, parts.beganNs),
    now: formatTime(base, parts.nowNs),
    namespaces: parts.namespaces.map((one) => namespaceStatus(one, base)),
    lost: [...parts.engine.lost()].map(([source, count]) => ({ source, count })),
    subscribers: [...server.subscribers()].map(({ options, since, sent, lost, queuedBytes }) => ({
      id: options.id,
      principal: options.principal,
      since,
      sent,
      lost,
      queued: queuedBytes,
    })),
    stream: { seq: state.seq, ringBytes: state.ringBytes },
    probe: {
      connected: link.hello !== undefined,
      restarts: link.losses,
      ringBytes: parts.ringBytes,
      ...(link.reason === '' ? {} : { reason: link.reason }),
    },
    kubernetes: {
      source: kube.source,
      synced: kube.synced,
      ...(kube.staleSince === undefined ? {} : { staleSince: nanoseconds(kube.staleSince) }),
    },
  };
}

function namespaceStatus({ followed, view, sinceNs }: StatusParts['namespaces'][number], base: TimeBase): NamespaceStatus {
  const { world, counters } = followed;
  const config = world.envoy?.configs.at(-1);
  const stale = world.unavailable.get('config_dump');
  return {
    netns: followed.netns,
    cookie: String(followed.cookie),
    ...(world.pod === undefined ? {} : { pod: world.pod }),
    state: followed.status,
    since: formatTime(base, sinceNs),
    ...(followed.reason === undefined ? {} : { reason: followed.reason }),
    packets: view?.packets ?? 0,
    bytes: view?.bytes ?? 0,
    lost: counters.dropped,
    flows: view?.flowCount ?? 0,
    unavailable: [...world.unavailable].map(([part, reason]) => ({ part, reason })),
    ...(config === undefined
      ? {}
      : {
          envoy: {
            version: config.versionOf('listeners'),
            readAt: nanoseconds(config.readAt),
            ...(stale === undefined ? {} : { staleSince: nanoseconds(config.readAt) }),
          },
        }),
    ...(world.rulesReadAt === undefined ? {} : { rules: { generation: world.version, readAt: nanoseconds(world.rulesReadAt) } }),
  };
}

/** The nine digits that the contract wants. */
function nanoseconds(time: string): string {
  const parts = /^(.*?)(?:\.(\d{1,9}))?Z$/.exec(time);
  return parts === null ? time : `${parts[1]}.${(parts[2] ?? '').padEnd(9, '0')}Z`;
}
