/**
 * One packet a line in JSON, one verdict a line out: what checks of a policy read.
 *
 * In `{"hook", "protocol", "source": {"ip", "port"}, "destination": {"ip", "port"}, "in"?, "out"?, "uid"?, "gid"?, "mark"?, "state"?}`: no `mark` means 0, no `uid` or `gid` means unknown. Other fields are left alone.
 */
import { canonicalIp } from '../net/address.ts';
import type { RuleStep, RuleVerdict } from '../record/record.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { connectionStates, type PacketQuery } from './packet-query.ts';
import { isProtocol, protocolName } from './protocol-names.ts';
import { hooks, type RuleSet } from './rule-set.ts';

/** A line is no packet; `line` counts from 1 where it is known. */
export class BatchLineError extends SyntaxError {
  constructor(message: string) {
    super(message);
    this.name = 'BatchLineError';
  }
}

function endOf(value: unknown, name: string): { ip: string; port?: number } {
  const end = typeof value === 'object' && value !== null ? (value as { ip?: unknown; port?: unknown }) : {};
  const ip = typeof end.ip === 'string' ? canonicalIp(end.ip) : undefined;
  if (ip === undefined) throw wrong(`${name}.ip`, end.ip, 'an IP address');
  if (end.port === undefined) return { ip };
  return { ip, port: whole(end.port, `${name}.port`, 65535) };
}

function whole(value: unknown, name: string, limit: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > limit)
    throw wrong(name, value, `a whole number from 0 to ${limit}`);
  return value;
}

function wrong(name: string, value: unknown, wish: string): BatchLineError {
  return new BatchLineError(`Cannot judge the packet: "${name}" must be ${wish}, it is ${JSON.stringify(value) ?? 'absent'}`);
}

/** @throws {BatchLineError} when the value describes no packet; the message names the field */
export function packetOf(value: unknown): PacketQuery {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BatchLineError('Cannot judge the packet: a line must be a JSON object, it is none');
  const line = value as { [field: string]: unknown };
  const hook = hooks.find((name) => name === line.hook);
  if (hook === undefined) throw wrong('hook', line.hook, `one of ${hooks.join(', ')}`);
  if (typeof line.protocol !== 'string' || !isProtocol(line.protocol)) throw wrong('protocol', line.protocol, 'a protocol');
  const protocol = protocolName(line.protocol);
  const state = line.state === undefined ? 'NEW' : connectionStates.find((name) => name === line.state);
  if (state === undefined) throw wrong('state', line.state, `one of ${connectionStates.join(', ')}`);
  const query: PacketQuery = {
    hook,
    protocol,
    source: endOf(line.source, 'source'),
    destination: endOf(line.destination, 'destination'),
    state,
  };
  for (const name of ['in', 'out'] as const) {
    const given = line[name];
    if (given === undefined) continue;
    if (typeof given !== 'string') throw wrong(name, given, 'the name of an interface');
    query[name] = given;
  }
  if (line.uid !== undefined || line.gid !== undefined)
    query.owner = {
      ...(line.uid === undefined ? {} : { uid: whole(line.uid, 'uid', 0xffffffff) }),
      ...(line.gid === undefined ? {} : { gid: whole(line.gid, 'gid', 0xffffffff) }),
    };
  if (line.mark !== undefined) query.mark = whole(line.mark, 'mark', 0xffffffff);
  // The first packet of a TCP connection is a SYN.
  if (protocol === 'tcp' && state === 'NEW') query.tcpFlags = 0x02;
  return query;
}

/** The verdict as records have it: `derived` where the rules leave one possibility, else `ambiguous` with the reason. */
export function ruleVerdict(evaluation: Evaluation, lossy: boolean): RuleVerdict {
  const { verdict, to, steps, reason } = evaluation;
  if (verdict === 'unknown') return { verdict, evidence: 'ambiguous', ...(reason === undefined ? {} : { reason }), steps };
  const port = to?.port;
  return {
    verdict,
    ...(port === undefined || verdict === 'DROP' || verdict === 'ACCEPT' ? {} : { port }),
    evidence: lossy ? 'ambiguous' : 'derived',
    ...(lossy ? { reason: 'rules-lossy' as const } : {}),
    steps,
  };
}

export interface BatchAnswer {
  rule: RuleVerdict & { undecidedAt?: RuleStep; candidates?: Evaluation['candidates'] };
}

/**
 * Judges one line.
 * @throws {BatchLineError} when the line is no JSON, or no packet
 */
export function batchAnswer(ruleSets: readonly RuleSet[], jsonLine: string): BatchAnswer {
  let value: unknown;
  try {
    value = JSON.parse(jsonLine);
  } catch {
    throw new BatchLineError(`Cannot judge the packet: a line must be a JSON object, it is ${JSON.stringify(jsonLine.slice(0, 60))}`);
  }
  return batchAnswerOf(ruleSets, packetOf(value));
}

/** {@link batchAnswer} for a packet that is read already. */
export function batchAnswerOf(ruleSets: readonly RuleSet[], packet: PacketQuery): BatchAnswer {
  const evaluation = evaluate(ruleSets, packet);
  const { undecidedAt, candidates } = evaluation;
  return {
    rule: {
      ...ruleVerdict(
        evaluation,
        ruleSets.some((ruleSet) => ruleSet.lossy),
      ),
      ...(undecidedAt === undefined ? {} : { undecidedAt }),
      ...(candidates === undefined ? {} : { candidates }),
    },
  };
}
