/** Filters on addresses and ports. Addresses are those of the original tuple: what the opener asked for. */
import { cidrContains, parseCidr, parseIp } from '../../net/address.ts';
import { choices, endFilters, type Filter, FilterError } from './filter.ts';

function parseAddress(value: string): (ip: string) => boolean {
  const block = parseCidr(value);
  if (block === undefined)
    throw new FilterError(`Cannot filter by the address "${value}": it must be an IPv4 or IPv6 address, or a block like 10.0.0.0/8`);
  return (text) => {
    const ip = parseIp(text);
    return ip !== undefined && cidrContains(block, ip);
  };
}

export const ip: readonly Filter[] = endFilters('ip', 'this address or block', { value: 'ADDRESS[/PREFIX]' }, (value) => {
  const test = parseAddress(value);
  return (peer) => test(peer.ip);
});

export const snatIp: Filter = {
  name: 'snat-ip',
  value: 'ADDRESS[/PREFIX]',
  summary: 'flows whose source was rewritten to this address or block',
  looksAt: 'flow',
  parse: (value) => {
    const test = parseAddress(value);
    return ({ flow }) => flow.translated !== undefined && flow.translated.source.ip !== flow.source.ip && test(flow.translated.source.ip);
  },
};

export const port: readonly Filter[] = endFilters('port', 'this port, or a range like 8000-8100', { value: 'PORT' }, (value) => {
  const [, low, high] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value) ?? [];
  const [from, to] = [Number(low), Number(high ?? low)];
  if (low === undefined || to > 65_535 || from > to)
    throw new FilterError(`Cannot filter by the port "${value}": it must be 0 to 65535, or a range like 8000-8100`);
  return (peer) => peer.port !== undefined && peer.port >= from && peer.port <= to;
});

const versions: { readonly [version: string]: 4 | 6 } = { '4': 4, v4: 4, ipv4: 4, '6': 6, v6: 6, ipv6: 6 };

function versionTest(version: 4 | 6): Filter['parse'] {
  return () =>
    ({ flow }) =>
      flow.source.ip.includes(':') === (version === 6);
}

export const ipVersion: readonly Filter[] = [
  {
    name: 'ip-version',
    value: 'v4|v6',
    summary: 'flows of this IP version',
    looksAt: 'flow',
    parse: (value) => {
      const version = versions[value.toLowerCase()];
      if (version === undefined) throw new FilterError(`Cannot filter by the IP version "${value}": it must be ${choices(['v4', 'v6'])}`);
      return versionTest(version)(value);
    },
  },
  { name: 'ipv4', short: '4', summary: 'IPv4 flows', looksAt: 'flow', parse: versionTest(4) },
  { name: 'ipv6', short: '6', summary: 'IPv6 flows', looksAt: 'flow', parse: versionTest(6) },
];
