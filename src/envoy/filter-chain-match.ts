/**
 * Which filter chain of a listener takes a connection.
 *
 * Criteria are asked in a fixed order: destination port, destination address, server name, transport protocol, application protocols, direct source address, source type,
 * source address, source port. At each the most specific value that some chain left names wins, for good: when the chains that name it fail later, the default chain is next, not
 * the second-best value. An input that is not known branches over all values that chains name.
 * Source: source/common/listener_manager/filter_chain_manager_impl.cc (findFilterChain and what it calls), listener_components.proto (FilterChainMatch).
 */
import { type Cidr, cidrContains, formatIp, type Ip, parseIp } from '../net/address.ts';
import type { Reason } from '../record/reason.ts';
import type { FilterChain } from './filter-chain.ts';
import type { Listener } from './listener.ts';

/** What the listener filters found out, and the addresses. Absent is unknown. */
export interface ChainInput {
  readonly destination?: { readonly ip: string; readonly port: number };
  readonly source?: { readonly ip: string; readonly port: number };
  /** The peer of the TCP connection, where it is another than the source: the PROXY protocol names the source then. */
  readonly directSource?: { readonly ip: string };
  /** Lower case; '' none. */
  readonly serverName?: string;
  /** `raw_buffer` or `tls`. */
  readonly transportProtocol: string;
  /** In the order of the client's list. */
  readonly applicationProtocols?: readonly string[];
}

type Step = (chains: readonly FilterChain[], input: ChainInput) => FilterChain[][];

/** Chains that name one of these values. */
function groups(chains: readonly FilterChain[], keysOf: (chain: FilterChain) => readonly string[]): Map<string, FilterChain[]> {
  const found = new Map<string, FilterChain[]>();
  for (const chain of chains)
    for (const key of keysOf(chain)) {
      const list = found.get(key);
      if (list === undefined) found.set(key, [chain]);
      else if (list.at(-1) !== chain) list.push(chain);
    }
  return found;
}

/** The most specific group, by keys from most to least specific; with the keys unknown all groups, and none when a value may fit none. */
function pick(
  chains: readonly FilterChain[],
  keysOf: (chain: FilterChain) => readonly string[],
  keys: readonly string[] | undefined,
): FilterChain[][] {
  const found = groups(chains, keysOf);
  if (keys === undefined) return found.has('') ? [...found.values()] : [...found.values(), []];
  for (const key of keys) {
    const group = found.get(key);
    if (group !== undefined) return [group];
  }
  return [[]];
}

const orNone = (values: readonly string[]) => (values.length === 0 ? [''] : values);

function portKey(port: number | undefined): string {
  return port === undefined || port === 0 ? '' : String(port);
}

/**
 * Longest prefix first; no prefix stands for all addresses. Where some chains name no prefix and others the one of length 0, Envoy keeps both under the same key and takes either:
 * its own order of them is not defined.
 */
function pickAddress(
  chains: readonly FilterChain[],
  rangesOf: (chain: FilterChain) => readonly Cidr[],
  ip: Ip | undefined,
): FilterChain[][] {
  if (ip === undefined)
    return pick(chains, (chain) => orNone(rangesOf(chain).map((range) => `${formatIp(range)}/${range.prefix}`)), undefined);
  let longest = 0;
  for (const chain of chains)
    for (const range of rangesOf(chain)) if (range.prefix > longest && cidrContains(range, ip)) longest = range.prefix;
  const named = chains.filter((chain) => rangesOf(chain).some((range) => range.prefix === longest && cidrContains(range, ip)));
  const open = longest > 0 ? [] : chains.filter((chain) => rangesOf(chain).length === 0);
  if (named.length === 0 || open.length === 0) return [named.length > 0 ? named : open];
  return [named, open];
}

/** `www.example.com`, `.example.com`, `.com`, none. */
export function serverNameKeys(serverName: string): string[] {
  const keys = [serverName];
  for (let dot = serverName.indexOf('.', 1); dot !== -1 && dot < serverName.length - 1; dot = serverName.indexOf('.', dot + 1))
    keys.push(serverName.slice(dot));
  if (serverName !== '') keys.push('');
  return keys;
}

/** `undefined` when an address that would tell is unknown. */
function isLocal(input: ChainInput): boolean | undefined {
  if (input.source === undefined) return undefined;
  // Of 127.0.0.0/8 Envoy takes this one address for the loopback.
  if (input.source.ip === '127.0.0.1' || input.source.ip === '::1') return true;
  return input.destination === undefined ? undefined : input.source.ip === input.destination.ip;
}

function sourceTypeKeys(input: ChainInput): string[] | undefined {
  const local = isLocal(input);
  return local === undefined ? undefined : [local ? 'SAME_IP_OR_LOOPBACK' : 'EXTERNAL', ''];
}

const ipOf = (at: { readonly ip: string } | undefined) => (at === undefined ? undefined : parseIp(at.ip));

const steps: readonly Step[] = [
  (chains, { destination }) =>
    pick(chains, (chain) => [portKey(chain.match.destinationPort)], destination === undefined ? undefined : [String(destination.port), '']),
  (chains, { destination }) => pickAddress(chains, (chain) => chain.match.prefixRanges, ipOf(destination)),
  (chains, { serverName }) =>
    pick(chains, (chain) => orNone(chain.match.serverNames), serverName === undefined ? undefined : serverNameKeys(serverName)),
  (chains, { transportProtocol }) => pick(chains, (chain) => [chain.match.transportProtocol], [transportProtocol, '']),
  (chains, { applicationProtocols }) =>
    pick(
      chains,
      (chain) => orNone(chain.match.applicationProtocols),
      applicationProtocols === undefined ? undefined : [...applicationProtocols, ''],
    ),
  (chains, { source, directSource }) => pickAddress(chains, (chain) => chain.match.directSourcePrefixRanges, ipOf(directSource ?? source)),
  (chains, input) => pick(chains, (chain) => [chain.match.sourceType === 'ANY' ? '' : chain.match.sourceType], sourceTypeKeys(input)),
  (chains, { source }) => pickAddress(chains, (chain) => chain.match.sourcePrefixRanges, ipOf(source)),
  (chains, { source }) =>
    pick(chains, (chain) => orNone(chain.match.sourcePorts.map(portKey)), source === undefined ? undefined : [String(source.port), '']),
];

function walk(chains: readonly FilterChain[], input: ChainInput, step: number, found: Set<FilterChain | undefined>): void {
  const test = steps[step];
  if (chains.length === 0 || test === undefined) found.add(chains[0]);
  else for (const group of test(chains, input)) walk(group, input, step + 1, found);
}

/** The chains that may take the connection; `undefined` among them stands for none: it is closed. One entry when nothing is left open. Not for listeners with a unified matcher. */
export function findFilterChains(listener: Listener, input: ChainInput): (FilterChain | undefined)[] {
  const found = new Set<FilterChain | undefined>();
  walk(listener.filterChains, input, 0, found);
  return [...new Set([...found].map((chain) => chain ?? listener.defaultFilterChain))];
}

function outside(ranges: readonly Cidr[], ip: Ip | undefined): boolean {
  return ranges.length > 0 && ip !== undefined && !ranges.some((range) => cidrContains(range, ip));
}

/** Why this chain was not taken: the first criterion that does not fit, or that another chain fits better. */
export function whyRejected(chain: FilterChain, input: ChainInput): Reason {
  const { match } = chain;
  const { destination, source, serverName, applicationProtocols } = input;
  if (match.destinationPort !== undefined && destination !== undefined && match.destinationPort !== destination.port)
    return 'port-mismatch';
  if (outside(match.prefixRanges, ipOf(destination))) return 'address-mismatch';
  if (
    match.serverNames.length > 0 &&
    serverName !== undefined &&
    !serverNameKeys(serverName).some((key) => match.serverNames.includes(key))
  )
    return 'server-name-mismatch';
  if (match.transportProtocol !== '' && match.transportProtocol !== input.transportProtocol) return 'transport-mismatch';
  if (
    match.applicationProtocols.length > 0 &&
    applicationProtocols !== undefined &&
    !applicationProtocols.some((name) => match.applicationProtocols.includes(name))
  )
    return 'application-protocol-mismatch';
  if (outside(match.directSourcePrefixRanges, ipOf(input.directSource ?? source)) || outside(match.sourcePrefixRanges, ipOf(source)))
    return 'source-mismatch';
  if (match.sourceType !== 'ANY' && isLocal(input) !== undefined && (match.sourceType === 'EXTERNAL') === isLocal(input))
    return 'source-mismatch';
  if (match.sourcePorts.length > 0 && source !== undefined && !match.sourcePorts.includes(source.port)) return 'source-mismatch';
  return 'earlier-match';
}
