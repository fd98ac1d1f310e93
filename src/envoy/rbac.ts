/**
 * Role-based access control, for connections and for requests: AuthorizationPolicy as Envoy holds it.
 * Source: envoy/config/rbac/v3/rbac.proto; source/extensions/filters/common/rbac/{engine_impl,matchers}.cc.
 */
import { type Cidr, cidrContains, parseCidr, parseIp } from '../net/address.ts';
import { parseHeaderMatcher, type RequestHeaders } from './header-matcher.ts';
import { asObject, booleanAt, type Json, numberAt, objectAt, objectsAt, textAt } from './json.ts';
import { parseStringMatcher } from './string-matcher.ts';
import { every, not, some, type Three } from './three-valued.ts';

/** What a policy may look at; absent is unknown. */
export interface RbacSubject {
  readonly source?: { readonly ip: string };
  readonly destination?: { readonly ip: string; readonly port: number };
  readonly serverName?: string;
  /** URI SAN of the client's certificate; '' when it has shown none. */
  readonly peer?: string;
  readonly request?: { readonly headers: RequestHeaders; readonly path?: string };
}

type Rule = (subject: RbacSubject) => Three;

export interface Rbac {
  /** Is the connection or request let through? */
  allows(subject: RbacSubject): Three;
}

const MAX_DEPTH = 100;
const unknownRule: Rule = () => 'unknown';

function cidrRule(range: Json | undefined, ipOf: (subject: RbacSubject) => string | undefined): Rule {
  const cidr: Cidr | undefined = parseCidr(`${textAt(range, 'address_prefix') ?? ''}/${numberAt(range, 'prefix_len') ?? 0}`);
  if (cidr === undefined) return unknownRule;
  return (subject) => {
    const text = ipOf(subject);
    const ip = text === undefined ? undefined : parseIp(text);
    return ip === undefined ? 'unknown' : cidrContains(cidr, ip);
  };
}

function sharedRule(message: Json): Rule | undefined {
  if (booleanAt(message, 'any') === true) return () => true;
  const header = objectAt(message, 'header');
  if (header !== undefined) {
    const matcher = parseHeaderMatcher(header);
    return (subject) => (subject.request === undefined ? 'unknown' : matcher.test(subject.request.headers));
  }
  const path = objectAt(objectAt(message, 'url_path'), 'path');
  if (path !== undefined) {
    const matcher = parseStringMatcher(path);
    return ({ request }) => (request?.path === undefined ? 'unknown' : matcher(request.path.replace(/[?#].*$/s, '')));
  }
  return undefined;
}

function parsePermission(message: Json, depth: number): Rule {
  if (depth > MAX_DEPTH) return unknownRule;
  const shared = sharedRule(message);
  if (shared !== undefined) return shared;
  const all = objectAt(message, 'and_rules');
  if (all !== undefined) return combined(objectsAt(all, 'rules'), depth, parsePermission, every);
  const any = objectAt(message, 'or_rules');
  if (any !== undefined) return combined(objectsAt(any, 'rules'), depth, parsePermission, some);
  const inverse = objectAt(message, 'not_rule');
  if (inverse !== undefined) {
    const rule = parsePermission(inverse, depth + 1);
    return (subject) => not(rule(subject));
  }
  const ip = objectAt(message, 'destination_ip');
  if (ip !== undefined) return cidrRule(ip, (subject) => subject.destination?.ip);
  const port = numberAt(message, 'destination_port');
  if (port !== undefined) return (subject) => (subject.destination === undefined ? 'unknown' : subject.destination.port === port);
  const range = objectAt(message, 'destination_port_range');
  if (range !== undefined) {
    const start = numberAt(range, 'start') ?? 0;
    const end = numberAt(range, 'end') ?? 0;
    return (subject) =>
      subject.destination === undefined ? 'unknown' : subject.destination.port >= start && subject.destination.port < end;
  }
  const serverName = objectAt(message, 'requested_server_name');
  if (serverName !== undefined) {
    const matcher = parseStringMatcher(serverName);
    return (subject) => (subject.serverName === undefined ? 'unknown' : matcher(subject.serverName));
  }
  return unknownRule;
}

function parsePrincipal(message: Json, depth: number): Rule {
  if (depth > MAX_DEPTH) return unknownRule;
  const shared = sharedRule(message);
  if (shared !== undefined) return shared;
  const all = objectAt(message, 'and_ids');
  if (all !== undefined) return combined(objectsAt(all, 'ids'), depth, parsePrincipal, every);
  const any = objectAt(message, 'or_ids');
  if (any !== undefined) return combined(objectsAt(any, 'ids'), depth, parsePrincipal, some);
  const inverse = objectAt(message, 'not_id');
  if (inverse !== undefined) {
    const rule = parsePrincipal(inverse, depth + 1);
    return (subject) => not(rule(subject));
  }
  for (const name of ['source_ip', 'direct_remote_ip', 'remote_ip']) {
    const range = objectAt(message, name);
    // Behind a proxy that is trusted to name the client (X-Forwarded-For) `remote_ip` is another address than the connection's.
    if (range !== undefined)
      return cidrRule(range, (subject) => (name === 'remote_ip' && subject.request !== undefined ? undefined : subject.source?.ip));
  }
  const authenticated = objectAt(message, 'authenticated');
  if (authenticated !== undefined) return peerRule(objectAt(authenticated, 'principal_name'));
  const state = objectAt(message, 'filter_state');
  if (state !== undefined && textAt(state, 'key') === 'io.istio.peer_principal') return peerRule(objectAt(state, 'string_match'));
  return unknownRule;
}

function peerRule(name: Json | undefined): Rule {
  const matcher = name === undefined ? () => true : parseStringMatcher(name);
  return ({ peer }) => (peer === undefined ? 'unknown' : peer === '' ? false : matcher(peer));
}

function combined(
  messages: readonly Json[],
  depth: number,
  parse: (message: Json, depth: number) => Rule,
  combine: <T>(items: readonly T[], test: (item: T) => Three) => Three,
): Rule {
  const rules = messages.map((message) => parse(message, depth + 1));
  return (subject) => combine(rules, (rule) => rule(subject));
}

/** The `rules` of an RBAC filter (or a route's own `rbac`). Shadow rules never decide and are left out. */
export function parseRbac(config: Json): Rbac {
  if (objectAt(config, 'matcher') !== undefined) return { allows: () => 'unknown' };
  const rules = objectAt(config, 'rules');
  // No rules: the filter lets everything pass.
  if (rules === undefined) return { allows: () => true };
  const action = textAt(rules, 'action') ?? 'ALLOW';
  const policies: Rule[] = Object.values(objectAt(rules, 'policies') ?? {}).map((value) => {
    const policy = asObject(value);
    if (objectAt(policy, 'condition') !== undefined || objectAt(policy, 'checked_condition') !== undefined) return unknownRule;
    const permissions = objectsAt(policy, 'permissions').map((message) => parsePermission(message, 0));
    const principals = objectsAt(policy, 'principals').map((message) => parsePrincipal(message, 0));
    return (subject) => every([permissions, principals], (list) => some(list, (rule) => rule(subject)));
  });
  return {
    allows(subject) {
      if (action === 'LOG') return true;
      const matched = some(policies, (policy) => policy(subject));
      return action === 'DENY' ? not(matched) : action === 'ALLOW' ? matched : 'unknown';
    },
  };
}
