/** Envoy says itself that it is draining, or not initialised yet. */
import { Drafts } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'proxy-not-live';

export const proxyNotLive: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const { world } of input.namespaces) {
      const info = world.envoy?.configs.findLast(({ serverInfo }) => serverInfo !== undefined)?.serverInfo;
      if (info === undefined || info.state === 'LIVE') continue;
      const draining = info.state === 'DRAINING';
      drafts.add(world, info.state, [], [], () => ({
        severity: 'warning',
        title: draining
          ? `The proxy of ${placeName(world)} is draining: it is about to end`
          : `The proxy of ${placeName(world)} is not ready yet (${info.state})`,
        proof: [
          `/server_info says state ${info.state}${info.uptimeMs === undefined ? '' : `, up for ${Math.round(info.uptimeMs / 1000)} s`}.`,
        ],
        fix: draining
          ? 'Expected while the pod ends. If the application still needs the network then, let the proxy outlive it (native sidecars, EXIT_ON_ZERO_ACTIVE_CONNECTIONS).'
          : 'It waits for its first configuration or certificates: look at its log for the connection to istiod (15012).',
      }));
    }
    return drafts.records();
  },
};
