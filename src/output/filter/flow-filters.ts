/** Filters on what a flow is and what became of it: protocol, TCP flags, state, verdict, event type, interface, node, id, direction. */
import type { FlowRecord, Verdict } from '../../record/record.ts';
import { eventsOfFlow, type HubbleVerdict, hubbleVerdict, hubbleVerdicts, trafficDirection } from '../hubble-event.ts';
import { flagNames, tcpFlagNames } from '../tcp-flags.ts';
import { choices, type Filter, FilterError, globTest } from './filter.ts';

const PROTOCOL = /^[a-z0-9-]{1,20}$/;

export const protocol: Filter = {
  name: 'protocol',
  value: 'PROTOCOL',
  summary: 'flows of this protocol: tcp, udp, icmp (both versions), icmpv4, icmpv6, sctp, dns, http, …',
  looksAt: (value) => (value.toLowerCase() === 'http' ? 'path' : 'flow'),
  parse: (value) => {
    const wanted = value.toLowerCase();
    if (!PROTOCOL.test(wanted))
      throw new FilterError(`Cannot filter by the protocol "${value}": it must be a name like tcp, udp, icmp, sctp, dns or http`);
    return ({ flow, path }) => {
      if (wanted === 'http') return path?.of === 'request';
      if (wanted === 'dns') return flow.dns !== undefined;
      if (wanted === 'icmp') return flow.protocol === 'icmp' || flow.protocol === 'icmpv6';
      return flow.protocol === (wanted === 'icmpv4' ? 'icmp' : wanted);
    };
  },
};

export const tcpFlags: Filter = {
  name: 'tcp-flags',
  value: 'FLAG[,FLAG]',
  summary: 'TCP flows with a side that sent all of these: syn, ack, fin, rst, psh, urg, ece, cwr',
  looksAt: 'flow',
  parse: (value) => {
    const known: readonly string[] = tcpFlagNames;
    const wanted = value.split(',').map((name) => name.trim().toUpperCase());
    const strange = wanted.find((name) => !known.includes(name));
    if (strange !== undefined)
      throw new FilterError(
        `Cannot filter by the TCP flag "${strange.toLowerCase()}": it must be ${choices(known.map((name) => name.toLowerCase()))}`,
      );
    const has = (flags: string): boolean => {
      const names: readonly string[] = flagNames(flags);
      return wanted.every((name) => names.includes(name));
    };
    return ({ flow }) => flow.tcp !== undefined && (has(flow.tcp.flags.toDestination) || has(flow.tcp.flags.toSource));
  },
};

const verdicts: readonly Verdict[] = ['REDIRECT', 'TPROXY', 'DNAT', 'ACCEPT', 'DROP', 'unknown'];

export const verdict: Filter = {
  name: 'verdict',
  value: 'VERDICT',
  summary: `flows with this verdict: of the rules (${verdicts.join(', ')}) or as Hubble says it (${hubbleVerdicts.join(', ')})`,
  looksAt: 'flow',
  parse: (value) => {
    const ours = verdicts.find((known) => known.toLowerCase() === value.toLowerCase());
    if (ours !== undefined) return ({ flow }) => flow.rule?.verdict === ours;
    const hubbles = value.toUpperCase() as HubbleVerdict;
    if (!hubbleVerdicts.includes(hubbles))
      throw new FilterError(`Cannot filter by the verdict "${value}": it must be ${choices([...verdicts, ...hubbleVerdicts])}`);
    return ({ flow }) => hubbleVerdict(flow) === hubbles;
  },
};

const types = ['trace', 'drop', 'l7', 'capture', 'policy-verdict', 'trace-sock'];
const points = [
  'from-endpoint',
  'from-host',
  'from-network',
  'from-overlay',
  'from-proxy',
  'from-stack',
  'from-crypto',
  'to-endpoint',
  'to-host',
  'to-network',
  'to-overlay',
  'to-proxy',
  'to-stack',
  'to-crypto',
];

export const type: Filter = {
  name: 'type',
  short: 't',
  value: 'TYPE[:SUBTYPE]',
  summary: "flows with this of Hubble's event types: trace, trace:to-proxy, trace:from-proxy, trace:to-stack, trace:to-endpoint, drop, l7",
  looksAt: (value) => (value.toLowerCase() === 'l7' ? 'path' : 'flow'),
  parse: (value) => {
    const [kind, point, more] = value.toLowerCase().split(':');
    const known = types.includes(kind!) && more === undefined && (point === undefined || (kind === 'trace' && points.includes(point)));
    if (!known)
      throw new FilterError(
        `Cannot filter by the type "${value}": it must be ${choices(types)}, or trace:SUBTYPE with a subtype like to-proxy`,
      );
    return ({ flow, path }) => {
      if (kind === 'l7') return path?.of === 'request' || flow.dns !== undefined;
      const [event] = eventsOfFlow(flow);
      return event!.kind === kind && (point === undefined || event!.point === point);
    };
  },
};

const states: readonly FlowRecord['state'][] = ['open', 'closed', 'reset', 'refused', 'unanswered', 'unreachable'];

export const state: Filter = {
  name: 'state',
  value: 'STATE',
  summary: `flows in this state: ${states.join(', ')}`,
  looksAt: 'flow',
  parse: (value) => {
    if (!(states as readonly string[]).includes(value))
      throw new FilterError(`Cannot filter by the state "${value}": it must be ${choices(states)}`);
    return ({ flow }) => flow.state === value;
  },
};

export const networkInterface: Filter = {
  name: 'interface',
  value: 'NAME',
  summary: 'flows seen on this interface (* for any run of characters)',
  looksAt: 'flow',
  parse: (value) => {
    const test = globTest(value);
    return ({ flow }) => flow.interfaces.some(test);
  },
};

export const nodeName: Filter = {
  name: 'node-name',
  value: 'NAME',
  summary: 'flows seen on this node (* for any run of characters)',
  looksAt: 'flow',
  parse: (value) => {
    const test = globTest(value);
    return ({ flow }) => test(flow.node);
  },
};

export const netns: Filter = {
  name: 'netns',
  value: 'NAME',
  summary: 'flows seen in this network namespace, as the bundle names it, or in the namespace of this pod (namespace/name)',
  looksAt: 'flow',
  parse: (value) => {
    const test = globTest(value);
    return ({ flow }) => test(flow.netns) || (flow.pod !== undefined && test(`${flow.pod.namespace}/${flow.pod.name}`));
  },
};

export const uuid: Filter = {
  name: 'uuid',
  value: 'ID',
  summary: 'the flow with this id',
  looksAt: 'flow',
  parse:
    (value) =>
    ({ flow }) =>
      flow.id === value,
};

export const direction: Filter = {
  name: 'traffic-direction',
  value: 'ingress|egress',
  summary: 'flows into, or out of, the pod that they were seen in',
  looksAt: 'flow',
  parse: (value) => {
    const wanted = value.toUpperCase();
    if (wanted !== 'INGRESS' && wanted !== 'EGRESS')
      throw new FilterError(`Cannot filter by the direction "${value}": it must be ${choices(['ingress', 'egress'])}`);
    return ({ flow }) => trafficDirection(flow) === wanted;
  },
};
