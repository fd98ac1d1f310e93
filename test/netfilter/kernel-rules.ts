/**
 * Random rule sets of everything that the evaluator judges, in both dialects: for asking the kernel about more than what Istio writes.
 */
import type { Family } from '../../src/net/address.ts';
import type { Chance } from './kernel-packets.ts';

const addresses: { readonly [family in Family]: readonly string[] } = {
  4: [
    '10.77.0.10',
    '10.77.0.20',
    '127.0.0.1',
    '127.0.0.0/8',
    '10.0.0.0/8',
    '198.51.100.0/25',
    '203.0.113.0/24',
    '100.64.0.0/11',
    '10.96.0.50',
  ],
  6: ['fd00:77::10', 'fd00:77::20', '::1', 'fd00::/8', 'fd01::/64', 'fd99::/112', '2001:db8::/32'],
};
const ports = ['53', '80', '443', '9080', '15001', '15006', '1024:20000', '15000:15100', '0:1023', '30000:65535'];
const marks = ['0', '0x539', '0x111', '0x539/0xfff', '0x100/0x300', '0x1/0x1'];

const not = (chance: Chance) => (chance.next() < 0.3 ? '! ' : '');

interface Place {
  /** Hooks that lead to the chain: what may be asked there. */
  readonly hooks: readonly string[];
  readonly table: string;
}

function iptablesMatches(chance: Chance, family: Family, { hooks, table }: Place): string {
  const parts: string[] = [];
  const outward = hooks.every((hook) => hook === 'OUTPUT');
  const inward = hooks.every((hook) => hook === 'PREROUTING');
  const protocol = chance.pick(['', '-p tcp', '-p tcp', '-p udp', '! -p tcp']);
  parts.push(protocol);
  const n = chance.below(4);
  for (let i = 0; i < n; i++) {
    const kinds = ['address', 'address', 'interface', 'mark', 'iprange'];
    if (protocol === '-p tcp' || protocol === '-p udp') kinds.push('port', 'port', 'multiport');
    if (protocol === '-p tcp') kinds.push('flags', 'syn');
    if (outward) kinds.push('owner', 'owner', 'owner2');
    if (table !== 'raw') kinds.push('ctstate', 'connmark', 'state');
    switch (chance.pick(kinds)) {
      case 'address':
        parts.push(`${not(chance)}${chance.pick(['-s', '-d', '-d'])} ${chance.pick(addresses[family])}`);
        break;
      case 'interface':
        if (outward) parts.push(`${not(chance)}-o ${chance.pick(['lo', 'eth0', 'eth+', 'eth1', 'not-istio-nic'])}`);
        else if (inward) parts.push(`${not(chance)}-i ${chance.pick(['lo', 'eth0', 'eth+', 'eth2', 'not+'])}`);
        break;
      case 'mark':
        parts.push(`-m mark ${not(chance)}--mark ${chance.pick(marks)}`);
        break;
      case 'connmark':
        parts.push(`-m connmark ${not(chance)}--mark ${chance.pick(marks)}`);
        break;
      case 'iprange':
        parts.push(
          `-m iprange ${not(chance)}${chance.pick(['--src-range', '--dst-range'])} ${family === 4 ? '10.0.0.1-10.77.0.15' : 'fd00:77::1-fd00:77::15'}`,
        );
        break;
      case 'port':
        parts.push(`${not(chance)}${chance.pick(['--dport', '--dport', '--sport'])} ${chance.pick(ports)}`);
        break;
      case 'multiport':
        parts.push(`-m multiport ${not(chance)}${chance.pick(['--dports', '--sports', '--ports'])} 53,80,9080,15000:15010`);
        break;
      case 'flags':
        parts.push(`${not(chance)}--tcp-flags ${chance.pick(['SYN,ACK SYN', 'ALL NONE', 'FIN,RST FIN', 'SYN,RST,ACK ACK'])}`);
        break;
      case 'syn':
        parts.push(`${not(chance)}--syn`);
        break;
      case 'owner':
        parts.push(
          `-m owner ${not(chance)}${chance.pick(['--uid-owner 1337', '--gid-owner 1337', '--uid-owner 1000-1999', '--socket-exists'])}`,
        );
        break;
      case 'owner2':
        parts.push(`-m owner ${not(chance)}--uid-owner 1337 ${not(chance)}--gid-owner 0`);
        break;
      case 'ctstate':
        parts.push(
          `-m conntrack ${not(chance)}--ctstate ${chance.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,INVALID', 'UNTRACKED'])}`,
        );
        break;
      default:
        parts.push(`-m state --state ${chance.pick(['NEW', 'ESTABLISHED', 'INVALID'])}`);
    }
  }
  // iptables takes --dport for an abbreviation of --dports where multiport was named before.
  return once(parts.sort((a, b) => Number(a.includes('multiport')) - Number(b.includes('multiport')))).join(' ');
}

/** iptables takes each of its own options once. */
function once(parts: readonly string[]): string[] {
  const seen = new Set<string>();
  return parts.filter((part) => {
    const key = /^(?:! )?(-m \S+|-\S+)/.exec(part)?.[1] ?? part;
    const name =
      key.startsWith('-m ') && /owner|mark|conntrack|state|iprange|multiport/.test(key) ? key : key === '--syn' ? '--tcp-flags' : key;
    if (part === '' || seen.has(name)) return false;
    seen.add(name);
    return true;
  });
}

function iptablesTarget(chance: Chance, table: string, matches: string, chains: readonly string[]): string {
  const ports = /(?:^|\s)-p (?:tcp|udp)/.test(matches) && !/! -p/.test(matches);
  const options = ['-j ACCEPT', '-j RETURN', '', ...chains.flatMap((chain) => [`-j ${chain}`, `-j ${chain}`, `-g ${chain}`])];
  if (table === 'raw') options.push('-j CT --zone 1', '-j CT --zone 2', '-j CT --notrack', '-j MARK --set-mark 0x111');
  if (table === 'mangle')
    options.push(
      '-j MARK --set-mark 0x539',
      '-j MARK --or-mark 0x1',
      '-j MARK --and-mark 0xff0',
      '-j MARK --xor-mark 0x101',
      '-j MARK --set-xmark 0x100/0x300',
      '-j CONNMARK --save-mark',
      '-j CONNMARK --restore-mark',
      '-j CONNMARK --set-xmark 0x111/0xfff',
      '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xf0f',
      '-j DROP',
    );
  if (table === 'nat' && ports) options.push('-j REDIRECT --to-ports 15001', '-j REDIRECT --to-ports 15006', '-j REDIRECT');
  if (table === 'filter') options.push('-j DROP', '-j REJECT');
  return chance.pick(options);
}

/** Input for iptables-restore: raw, mangle, nat and filter, each with user chains that only call later ones. */
export function randomIptables(chance: Chance, family: Family): string {
  const lines: string[] = [];
  for (const table of ['raw', 'mangle', 'nat', 'filter']) {
    if (chance.next() < 0.2) continue;
    lines.push(`*${table}`);
    const hooks = table === 'filter' ? ['OUTPUT'] : ['PREROUTING', 'OUTPUT'];
    if (chance.next() < 0.1 && table === 'mangle') lines.push(':OUTPUT DROP [0:0]');
    for (const hook of hooks) {
      const chains = [hook, ...['A', 'B', 'C'].map((name) => `${hook}_${name}`)];
      for (const chain of chains.slice(1)) lines.push(`-N ${chain}`);
      for (const [i, chain] of chains.entries()) {
        const rules = 1 + chance.below(5);
        for (let n = 0; n < rules; n++) {
          const matches = iptablesMatches(chance, family, { hooks: [hook], table });
          lines.push(`-A ${chain} ${matches} ${iptablesTarget(chance, table, matches, chains.slice(i + 1))}`);
        }
        if (i < chains.length - 1) lines.push(`-A ${chain} -j ${chains[i + 1]}`);
      }
    }
    lines.push('COMMIT');
  }
  return `${lines.join('\n')}\n`;
}

function nftMatches(chance: Chance, hook: string, early: boolean): string {
  const parts: string[] = [];
  const different = () => (chance.next() < 0.3 ? '!= ' : '');
  // nft takes no rule that speaks of two families or two protocols.
  const family = chance.pick(['', 'ip', 'ip', 'ip6']);
  const l4 = chance.pick(['', 'tcp', 'tcp', 'udp']);
  const n = chance.below(4);
  for (let i = 0; i < n; i++) {
    const kinds = ['interface', 'mark', 'mark'];
    if (family === '') kinds.push('family');
    else kinds.push(family, family);
    if (l4 === '') kinds.push('proto');
    else kinds.push('port', 'port');
    if (l4 === 'tcp') kinds.push('flags');
    if (!early) kinds.push('state', 'ctmark');
    if (hook === 'output') kinds.push('owner', 'owner');
    const kind = chance.pick(kinds);
    // Two neighbours with != of one header are one comparison to some versions of nft, which is something else than the two.
    if (/^(?:ip|ip6|port)$/.test(kind) && parts.some((part) => part.includes('!= ') && (kind === 'port') === / [ds]port /.test(part)))
      continue;
    switch (kind) {
      case 'ip':
        parts.push(
          `ip ${chance.pick(['saddr', 'daddr', 'daddr'])} ${different()}${chance.pick(['10.77.0.10', '10.0.0.0/8', '{ 127.0.0.1, 10.96.0.0/12 }', '10.0.0.1-10.77.0.15'])}`,
        );
        break;
      case 'ip6':
        parts.push(
          `ip6 ${chance.pick(['saddr', 'daddr', 'daddr'])} ${different()}${chance.pick(['fd00:77::10', 'fd00::/8', '{ ::1, fd01::/64 }'])}`,
        );
        break;
      case 'port':
        parts.push(
          `${l4} ${chance.pick(['dport', 'dport', 'sport'])} ${different()}${chance.pick(['53', '80', '{ 53, 80, 15000-15010 }', '1024-20000', '15001'])}`,
        );
        break;
      case 'proto':
        parts.push(`meta l4proto ${different()}${chance.pick(['tcp', 'udp', '{ tcp, udp }'])}`);
        break;
      case 'interface':
        parts.push(
          `${hook === 'output' ? 'oifname' : 'iifname'} ${different()}${chance.pick(['lo', 'eth0', '"eth*"', '{ lo, eth1 }', 'not-istio-nic'])}`,
        );
        break;
      case 'mark':
        parts.push(`meta mark ${chance.pick(['', 'and 0xfff '])}${different()}${chance.pick(['0x539', '0x111', '0', '{ 0x111, 0x539 }'])}`);
        break;
      case 'ctmark':
        parts.push(`ct mark ${chance.pick(['', 'and 0xfff '])}${different()}${chance.pick(['0x539', '0x111', '0'])}`);
        break;
      case 'family':
        parts.push(`meta nfproto ${different()}${chance.pick(['ipv4', 'ipv6'])}`);
        break;
      case 'flags':
        parts.push(`tcp flags ${chance.pick(['& (syn|ack) == syn', 'syn', '& (fin|syn|rst|ack) != syn'])}`);
        break;
      case 'state':
        parts.push(`ct state ${chance.pick(['new', 'established,related', 'invalid', '!= new'])}`);
        break;
      default:
        parts.push(`meta ${chance.pick(['skuid', 'skgid'])} ${different()}${chance.pick(['1337', '1000-1999', '{ 0, 1337 }', '0'])}`);
    }
  }
  return parts.join(' ');
}

function nftStatements(chance: Chance, kind: string, chains: readonly string[], matches: string): string {
  const options = ['accept', 'return', '', ...chains.flatMap((chain) => [`jump ${chain}`, `jump ${chain}`, `goto ${chain}`])];
  if (kind === 'raw') options.push('ct zone set 1', 'ct zone set 2', 'notrack', 'meta mark set 0x111');
  if (kind === 'mangle')
    options.push(
      'meta mark set 0x539',
      'meta mark set mark | 0x1',
      'ct mark set mark',
      'meta mark set ct mark',
      'ct mark set ct mark & 0xfffff000 | 0x111',
      'meta mark set mark and 0xff0 accept',
      'drop',
    );
  if (kind === 'nat' && /(?:tcp|udp) [ds]port/.test(matches)) options.push('redirect to :15001', 'redirect to :15006');
  if (kind === 'filter') options.push('drop', 'reject');
  return chance.pick(options);
}

/** Input for `nft -f`: one inet table each for raw, mangle, nat and filter. Counters stand after the matches, as iptables has them. */
export function randomNft(chance: Chance): string {
  const lines: string[] = [];
  const priorities = { raw: -300, mangle: -150, nat: -100, filter: 0 } as const;
  for (const kind of ['raw', 'mangle', 'nat', 'filter'] as const) {
    if (chance.next() < 0.2) continue;
    const table = `x-${kind}`;
    lines.push(`add table inet ${table}`);
    for (const hook of ['prerouting', 'output']) {
      const type = kind === 'nat' ? 'nat' : kind === 'mangle' && hook === 'output' ? 'route' : 'filter';
      const policy = kind !== 'nat' && chance.next() < 0.05 ? 'drop' : 'accept';
      const chains = [hook, ...['a', 'b', 'c'].map((name) => `${hook}-${name}`)];
      lines.push(`add chain inet ${table} ${hook} { type ${type} hook ${hook} priority ${priorities[kind]} ; policy ${policy} ; }`);
      for (const chain of chains.slice(1)) lines.push(`add chain inet ${table} ${chain}`);
      for (const [i, chain] of chains.entries()) {
        const rules = 1 + chance.below(5);
        for (let n = 0; n < rules; n++) {
          const matches = nftMatches(chance, hook, kind === 'raw');
          const statements = nftStatements(chance, kind, chains.slice(i + 1), matches);
          // A statement that reads a connection's mark ends the rule where there is no connection: a counter before it rises, but no trace is left.
          const late = statements.includes('set ct mark');
          lines.push(`add rule inet ${table} ${chain} ${matches} ${late ? `${statements} counter` : `counter ${statements}`}`);
        }
        if (i < chains.length - 1) lines.push(`add rule inet ${table} ${chain} counter jump ${chains[i + 1]}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}
