/** All rules, in the order of docs/findings.md. A new one is a file and a line here. */
import type { FindingRecord, PathRecord } from '../record/record.ts';
import { applicationAsProxyUser } from './application-as-proxy-user.ts';
import { applicationOnLoopback } from './application-on-loopback.ts';
import { blockedByRegistry } from './blocked-by-registry.ts';
import { clientPolicyAgainstStrict } from './client-policy-against-strict.ts';
import { deniedByPolicy } from './denied-by-policy.ts';
import { dnsAgentNotListening } from './dns-agent-not-listening.ts';
import { dnsNotCaptured } from './dns-not-captured.ts';
import { excludedPort } from './excluded-port.ts';
import { excludedPortMeetsStrict } from './excluded-port-meets-strict.ts';
import { faultInjected } from './fault-injected.ts';
import { type Finding, type FindingNamespace, makeFindingInput } from './finding.ts';
import { foreignTls } from './foreign-tls.ts';
import { guardrailDrop } from './guardrail-drop.ts';
import { ipv6NotCaptured } from './ipv6-not-captured.ts';
import { listenerNewerThanConnection } from './listener-newer-than-connection.ts';
import { noHealthyEndpoint } from './no-healthy-endpoint.ts';
import { noRoute } from './no-route.ts';
import { nothingListens } from './nothing-listens.ts';
import { passthroughOfKnownService } from './passthrough-of-known-service.ts';
import { plaintextIntoStrict } from './plaintext-into-strict.ts';
import { podAddressDialled } from './pod-address-dialled.ts';
import { proxyNotListening } from './proxy-not-listening.ts';
import { proxyNotLive } from './proxy-not-live.ts';
import { proxyPortDialled } from './proxy-port-dialled.ts';
import { redirectLoop } from './redirect-loop.ts';
import { rejectedConfiguration } from './rejected-configuration.ts';
import { rulesAbsent } from './rules-absent.ts';
import { sourcePortRewritten } from './source-port-rewritten.ts';
import { undefinedCluster } from './undefined-cluster.ts';
import { upstreamConnectFailed } from './upstream-connect-failed.ts';
import { upstreamReset } from './upstream-reset.ts';
import { upstreamTimeout } from './upstream-timeout.ts';
import { waitingForFirstByte } from './waiting-for-first-byte.ts';

export const findings: readonly Finding[] = [
  // The proxy and the rules
  proxyNotListening,
  rulesAbsent,
  guardrailDrop,
  redirectLoop,
  applicationAsProxyUser,
  ipv6NotCaptured,
  excludedPort,
  proxyPortDialled,
  sourcePortRewritten,
  proxyNotLive,
  rejectedConfiguration,
  listenerNewerThanConnection,
  // The application
  applicationOnLoopback,
  nothingListens,
  // Mutual TLS
  plaintextIntoStrict,
  clientPolicyAgainstStrict,
  excludedPortMeetsStrict,
  foreignTls,
  waitingForFirstByte,
  // Routes, clusters, policies
  noHealthyEndpoint,
  undefinedCluster,
  noRoute,
  deniedByPolicy,
  faultInjected,
  blockedByRegistry,
  passthroughOfKnownService,
  podAddressDialled,
  upstreamConnectFailed,
  upstreamReset,
  upstreamTimeout,
  // Names
  dnsNotCaptured,
  dnsAgentNotListening,
];

const weight = { error: 0, warning: 1, info: 2 } as const;

/**
 * Everything that the rules find, errors first, else in the order of the list; and names each finding in the flows that it names.
 *
 * @param paths of all namespaces together
 */
export function findAll(namespaces: readonly FindingNamespace[], paths: readonly PathRecord[]): FindingRecord[] {
  const input = makeFindingInput(namespaces, paths);
  const found = findings.flatMap((finding) => finding.find(input)).sort((a, b) => weight[a.severity] - weight[b.severity]);
  for (const { id, flows } of found)
    for (const flow of flows) {
      const record = input.subjectOf(flow)?.record;
      if (record !== undefined) record.findings = [...(record.findings ?? []), id];
    }
  return found;
}
