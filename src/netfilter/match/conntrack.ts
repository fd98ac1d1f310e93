/**
 * `-m conntrack`, `-m state`, `ct state`: what conntrack calls the packet.
 *
 * Only what can be told from a packet is judged: the state, and for a new connection its direction and original tuple. Before conntrack has seen it (raw) every packet is INVALID.
 * Source: iptables-extensions(8) "conntrack", "state"; Linux net/netfilter/xt_conntrack.c conntrack_mt().
 */
import { type AddressBlock, blockContains, blockWords, parseAddressBlock } from '../address-block.ts';
import { inRanges, type NumberRange, parseNumberRange, rangeWords } from '../number-range.ts';
import type { ConnectionState } from '../packet-query.ts';
import { connectionStates } from '../packet-query.ts';
import type { PacketState, Side } from '../packet-state.ts';
import { protocolName } from '../protocol-names.ts';
import type { Truth } from '../truth.ts';
import { negateIf } from '../truth.ts';
import type { IptablesMatch, Match, MatchType, Option } from './match.ts';
import { optionText } from './match.ts';

/** SNAT and DNAT are asked together with the states: has the connection been translated? */
export type StateName = ConnectionState | 'SNAT' | 'DNAT';

export type ConntrackTest =
  | { readonly of: 'state'; readonly states: readonly StateName[] }
  | { readonly of: 'direction'; readonly direction: 'ORIGINAL' | 'REPLY' }
  | { readonly of: 'protocol'; readonly protocol: string }
  | { readonly of: 'address'; readonly side: Side; readonly blocks: readonly AddressBlock[] }
  | { readonly of: 'ports'; readonly side: Side; readonly ranges: readonly NumberRange[] }
  | { readonly of: 'other' };

export interface ConntrackMatch extends Match {
  readonly kind: 'conntrack';
  readonly negated: boolean;
  readonly test: ConntrackTest;
}

function testState(states: readonly StateName[], packet: PacketState, text: string): Truth {
  const state = packet.state();
  if (typeof state === 'object') return state;
  if (states.includes(state)) return true;
  if (!states.includes('SNAT') && !states.includes('DNAT')) return false;
  if (state === 'INVALID' || state === 'UNTRACKED') return false;
  // A connection is translated when its first packet has passed the nat chains, which come after raw and mangle.
  const early = state === 'NEW' && !packet.loops && (packet.hook === 'PREROUTING' || packet.hook === 'OUTPUT');
  return early ? false : packet.askTruth(text, 'other', 'match-needs-state');
}

export const conntrack: MatchType<ConntrackMatch> = {
  kind: 'conntrack',
  test({ test, negated, text }, packet) {
    if (test.of === 'state') return negateIf(negated, testState(test.states, packet, text.replace(/^! /, '')));
    const connection = packet.hasConnection();
    if (connection !== true) return connection;
    const state = packet.state();
    if (typeof state === 'object') return state;
    const first = state === 'NEW' && packet.tracked === 'yes' && !packet.loops;
    if (test.of === 'protocol') return (protocolName(packet.protocol) === test.protocol) !== negated;
    if (first && test.of === 'direction') return (test.direction === 'ORIGINAL') !== negated;
    if (first && test.of === 'address') {
      const ip = packet.address(test.side);
      if (ip !== undefined) return test.blocks.some((block) => blockContains(block, ip)) !== negated;
    }
    if (first && test.of === 'ports') {
      const port = packet.port(test.side);
      if (port !== undefined) return inRanges(test.ranges, port) !== negated;
    }
    return negateIf(negated, packet.askTruth(text.replace(/^! /, ''), 'other', 'match-needs-state'));
  },
  words({ test, negated, text }) {
    const but = negated ? 'not ' : '';
    switch (test.of) {
      case 'state':
        return `that conntrack calls ${but}${test.states.join(' or ')}`;
      case 'direction':
        return `${but}in the ${test.direction === 'ORIGINAL' ? "opener's" : "answerer's"} direction`;
      case 'protocol':
        return `of ${but}${test.protocol.toUpperCase()} connections`;
      case 'address':
        return `of connections ${but}opened ${test.side === 'source' ? 'from' : 'to'} ${test.blocks.map(blockWords).join(' or ')}`;
      case 'ports':
        return `of connections ${but}opened ${test.side === 'source' ? 'from' : 'to'} port ${rangeWords(test.ranges)}`;
      default:
        return `for which conntrack says ${text}`;
    }
  },
};

function parseStates(text: string): StateName[] | undefined {
  const states: StateName[] = [];
  for (const name of text.toUpperCase().split(',')) {
    if ((connectionStates as readonly string[]).includes(name) || name === 'SNAT' || name === 'DNAT') states.push(name as StateName);
    else return undefined;
  }
  return states;
}

export function stateTest(names: string): ConntrackTest | undefined {
  const states = parseStates(names);
  return states === undefined ? undefined : { of: 'state', states };
}

function parseTest({ name, values }: Option): ConntrackTest | undefined {
  const value = values[0] ?? '';
  switch (name) {
    case '--ctstate':
    case '--state':
      return stateTest(value);
    case '--ctdir': {
      const direction = value.toUpperCase();
      return direction === 'ORIGINAL' || direction === 'REPLY' ? { of: 'direction', direction } : undefined;
    }
    case '--ctproto':
      return { of: 'protocol', protocol: protocolName(value) };
    case '--ctorigsrc':
    case '--ctorigdst': {
      const block = parseAddressBlock(value);
      return block === undefined ? undefined : { of: 'address', side: name === '--ctorigsrc' ? 'source' : 'destination', blocks: [block] };
    }
    case '--ctorigsrcport':
    case '--ctorigdstport': {
      const range = parseNumberRange(value, ':', 65535);
      return range === undefined
        ? undefined
        : { of: 'ports', side: name === '--ctorigsrcport' ? 'source' : 'destination', ranges: [range] };
    }
    default:
      return { of: 'other' };
  }
}

function parse(options: readonly Option[]): readonly Match[] | undefined {
  const matches: ConntrackMatch[] = [];
  for (const option of options) {
    const test = parseTest(option);
    if (test === undefined) return undefined;
    matches.push({ kind: 'conntrack', negated: option.negated, test, text: optionText(option) });
  }
  return matches.length === 0 ? undefined : matches;
}

export const conntrackOptions: IptablesMatch = {
  names: ['conntrack'],
  options: [
    '--ctstate',
    '--ctproto',
    '--ctorigsrc',
    '--ctorigdst',
    '--ctreplsrc',
    '--ctrepldst',
    '--ctorigsrcport',
    '--ctorigdstport',
    '--ctreplsrcport',
    '--ctrepldstport',
    '--ctstatus',
    '--ctexpire',
    '--ctdir',
  ],
  parse,
};

export const stateOptions: IptablesMatch = { names: ['state'], options: ['--state'], parse };
