/** Envoy refused a part of the configuration that the control plane sent: it goes on with what it had. */
import type { RejectedResource } from '../envoy/config.ts';
import { Drafts } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'rejected-configuration';
const DETAILS_MAX = 500;

export const rejectedConfiguration: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const { world } of input.namespaces) {
      const latest = new Map<string, { rejected: RejectedResource; readAt: string }>();
      for (const config of world.envoy?.configs ?? [])
        for (const rejected of config.rejected) latest.set(`${rejected.kind} ${rejected.name}`, { rejected, readAt: config.readAt });
      for (const [key, { rejected, readAt }] of latest) {
        const at = rejected.lastAttemptMs === undefined ? '' : ` at ${new Date(rejected.lastAttemptMs).toISOString()}`;
        drafts.add(world, key, [], [], () => ({
          severity: 'error',
          title: `The proxy of ${placeName(world)} refused the ${rejected.kind} "${rejected.name}" and goes on without it, or with its old one`,
          proof: [
            `Envoy says${at}: ${rejected.details.slice(0, DETAILS_MAX)}`,
            `It stands as error_state in the configuration${readAt === '' ? '' : ` read at ${readAt}`}.`,
          ],
          fix: 'Mostly an EnvoyFilter, a certificate or a field that this version of Envoy does not take: correct what its words name; istiod shows the proxy as NACK (istioctl proxy-status).',
        }));
      }
    }
    return drafts.records();
  },
};
