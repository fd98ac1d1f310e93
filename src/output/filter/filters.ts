/** Every filter, in the order in which `--help` lists them. To add one: its file or a place in one, and its name here. */
import { ip, ipVersion, port, snatIp } from './address-filters.ts';
import type { Filter } from './filter.ts';
import { direction, netns, networkInterface, nodeName, protocol, state, tcpFlags, type, uuid, verdict } from './flow-filters.ts';
import { label, namespace, pod, service, workload } from './name-filters.ts';
import { fqdn, httpHeader, httpMethod, httpPath, httpStatus, httpUrl } from './request-filters.ts';
import { decisions, finding, leg, outcome, path, rule } from './sidecar-filters.ts';

export const filters: readonly Filter[] = [
  ...pod,
  ...namespace,
  ...label,
  ...service,
  ...workload,
  ...ip,
  snatIp,
  ...port,
  protocol,
  tcpFlags,
  ...ipVersion,
  direction,
  verdict,
  type,
  state,
  httpMethod,
  httpPath,
  httpUrl,
  httpStatus,
  httpHeader,
  fqdn,
  networkInterface,
  nodeName,
  netns,
  uuid,
  leg,
  rule,
  ...decisions,
  outcome,
  path,
  finding,
];
