/**
 * The common names of IP protocols and of ports, as rule files use them. Source: IANA protocol numbers, IANA service names.
 */
const protocols: readonly (readonly [number, string])[] = [
  [1, 'icmp'],
  [2, 'igmp'],
  [4, 'ipip'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [41, 'ipv6'],
  [47, 'gre'],
  [50, 'esp'],
  [51, 'ah'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
];

const numbers = new Map(protocols.map(([number, name]) => [name, number]));
const names = new Map(protocols);
const aliases: { readonly [name: string]: string } = { 'ipv6-icmp': 'icmpv6', icmp6: 'icmpv6', ipencap: 'ipip' };

/** One spelling for each protocol: `6`, `TCP` and `tcp` are `tcp`; numbers without a common name stay numbers. */
export function protocolName(text: string): string {
  const lower = text.toLowerCase();
  if (/^\d{1,3}$/.test(lower)) return names.get(Number(lower)) ?? String(Number(lower));
  return Object.hasOwn(aliases, lower) ? aliases[lower]! : lower;
}

/** The number of a protocol as {@link protocolName} spells it; 255 (reserved) for a name that is none. */
export function protocolNumber(name: string): number {
  return numbers.get(name) ?? (/^\d{1,3}$/.test(name) ? Number(name) : 255);
}

export function isProtocol(text: string): boolean {
  const name = protocolName(text);
  return numbers.has(name) || (/^\d{1,3}$/.test(name) && Number(name) <= 255);
}

/** Protocols whose header begins with two ports. */
export const portProtocols: readonly string[] = ['tcp', 'udp', 'sctp', 'dccp', 'udplite'];

const services: { readonly [name: string]: number } = {
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  http: 80,
  kerberos: 88,
  pop3: 110,
  ntp: 123,
  imap2: 143,
  imap: 143,
  snmp: 161,
  bgp: 179,
  ldap: 389,
  https: 443,
  submission: 587,
  ldaps: 636,
  'domain-s': 853,
  imaps: 993,
  pop3s: 995,
  'ms-sql-s': 1433,
  mysql: 3306,
  postgresql: 5432,
  amqp: 5672,
  redis: 6379,
  'http-alt': 8080,
  webcache: 8080,
};

/** The port that a service name stands for; `undefined` for one that is not well known. */
export function servicePort(name: string): number | undefined {
  return Object.hasOwn(services, name) ? services[name] : undefined;
}
