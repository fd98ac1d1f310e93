/**
 * Listener filters: what looks at a connection before its filter chain is chosen.
 * Source: envoy/config/listener/v3/listener_components.proto (ListenerFilter, ListenerFilterChainMatchPredicate).
 */
import { booleanAt, type Json, numberAt, objectAt, objectsAt, textAt, typedConfig } from './json.ts';
import { every, not, some, type Three } from './three-valued.ts';

export type ListenerFilterKind = 'tls_inspector' | 'http_inspector' | 'original_dst' | 'original_src' | 'proxy_protocol' | 'other';

export interface ListenerFilter {
  readonly name: string;
  readonly kind: ListenerFilterKind;
  /** Is the filter switched off for connections to this port? */
  disabledFor(port: number | undefined): Three;
}

const kinds: { readonly [type: string]: ListenerFilterKind } = {
  TlsInspector: 'tls_inspector',
  HttpInspector: 'http_inspector',
  OriginalDst: 'original_dst',
  OriginalSrc: 'original_src',
  ProxyProtocol: 'proxy_protocol',
};

type Predicate = (port: number | undefined) => Three;

const MAX_DEPTH = 50;

function parsePredicate(message: Json | undefined, depth = 0): Predicate {
  if (message === undefined || depth > MAX_DEPTH) return () => 'unknown';
  const range = objectAt(message, 'destination_port_range');
  if (range !== undefined) {
    const start = numberAt(range, 'start') ?? 0;
    const end = numberAt(range, 'end') ?? 0;
    return (port) => (port === undefined ? 'unknown' : port >= start && port < end);
  }
  const parts = (of: Json) => objectsAt(of, 'rules').map((rule) => parsePredicate(rule, depth + 1));
  const or = objectAt(message, 'or_match');
  if (or !== undefined) {
    const rules = parts(or);
    return (port) => some(rules, (rule) => rule(port));
  }
  const and = objectAt(message, 'and_match');
  if (and !== undefined) {
    const rules = parts(and);
    return (port) => every(rules, (rule) => rule(port));
  }
  const inverse = objectAt(message, 'not_match');
  if (inverse !== undefined) {
    const rule = parsePredicate(inverse, depth + 1);
    return (port) => not(rule(port));
  }
  if (booleanAt(message, 'any_match') !== undefined) return () => true;
  return () => 'unknown';
}

export function parseListenerFilter(message: Json): ListenerFilter {
  const name = textAt(message, 'name') ?? '';
  const { type } = typedConfig(message);
  const kind =
    kinds[type] ??
    (['tls_inspector', 'http_inspector', 'original_dst', 'original_src', 'proxy_protocol'] as const).find((word) =>
      name.endsWith(`.${word}`),
    ) ??
    'other';
  const predicate = objectAt(message, 'filter_disabled');
  return { name, kind, disabledFor: predicate === undefined ? () => false : parsePredicate(predicate) };
}
