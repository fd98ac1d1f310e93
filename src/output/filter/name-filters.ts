/** Filters on the names of the two ends: pod, namespace, service, workload, label. Names are known where pods and services were given. */
import { endFilters, type Filter, FilterError } from './filter.ts';

/** `[namespace/]name`: both parts when there is a slash, the name in any namespace otherwise. */
function qualified(value: string, matches: (name: string, wanted: string) => boolean): (full: string | undefined) => boolean {
  const slash = value.indexOf('/');
  const namespace = slash === -1 ? undefined : value.slice(0, slash);
  const wanted = value.slice(slash + 1);
  if (wanted === '' && namespace === undefined) throw new FilterError(`Cannot filter by the name "": it must be [namespace/]name`);
  return (full) => {
    if (full === undefined) return false;
    const at = full.indexOf('/');
    return (namespace === undefined || full.slice(0, at) === namespace) && matches(full.slice(at + 1), wanted);
  };
}

const prefix = (name: string, wanted: string): boolean => name.startsWith(wanted);
const exact = (name: string, wanted: string): boolean => name === wanted;

export const pod: readonly Filter[] = endFilters(
  'pod',
  'pods whose name begins so, in any namespace unless one is named',
  { value: '[NAMESPACE/]PREFIX' },
  (value) => {
    const test = qualified(value, prefix);
    return (peer) => test(peer.pod);
  },
);

export const service: readonly Filter[] = endFilters(
  'service',
  'services whose name begins so',
  { value: '[NAMESPACE/]PREFIX' },
  (value) => {
    const test = qualified(value, prefix);
    return (peer) => test(peer.service);
  },
);

export const workload: readonly Filter[] = endFilters(
  'workload',
  'this workload (Deployment, DaemonSet, …)',
  { value: '[NAMESPACE/]NAME' },
  (value) => {
    const test = qualified(value, exact);
    return (peer) => test(peer.workload);
  },
);

export const namespace: readonly Filter[] = endFilters(
  'namespace',
  'pods and services of this namespace',
  { short: 'n', value: 'NAMESPACE' },
  (value) => {
    const inside = `${value}/`;
    return (peer) => (peer.pod?.startsWith(inside) ?? false) || (peer.service?.startsWith(inside) ?? false);
  },
);

const REQUIREMENT = /^(!)?([A-Za-z0-9][\w./-]*)(?:(=|==|!=)([\w.-]*))?$/;

type Labels = { readonly [label: string]: string };

/** `app=web,tier!=db,!canary`: all of them must hold. Source: Kubernetes label selectors, equality-based, and existence. */
function parseSelector(value: string): (labels: Labels) => boolean {
  const tests = value.split(',').map((text) => {
    const match = REQUIREMENT.exec(text.trim());
    if (match === null || (match[1] !== undefined && match[3] !== undefined))
      throw new FilterError(
        `Cannot filter by the label "${value}": it must be key=value, key!=value, key or !key, several joined by commas`,
      );
    const [, not, key, operator, wanted] = match as unknown as [string, string | undefined, string, string | undefined, string | undefined];
    if (operator === undefined) return (labels: Labels) => Object.hasOwn(labels, key) === (not === undefined);
    return (labels: Labels) => (Object.hasOwn(labels, key) && labels[key] === wanted) === (operator !== '!=');
  });
  return (labels) => tests.every((test) => test(labels));
}

/** A pod that is not known matches no selector, not even a negative one. */
export const label: readonly Filter[] = endFilters(
  'label',
  'pods with these labels (--pods or a bundle must tell them)',
  { short: 'l', value: 'SELECTOR' },
  (value) => {
    const selects = parseSelector(value.replace(/^k8s:/, ''));
    return (peer, context) => {
      const labels = peer.pod === undefined ? undefined : context.labelsOf(peer.pod);
      return labels !== undefined && selects(labels);
    };
  },
);
