/**
 * What kernel-trace.c prints, as runs: one base chain, one packet, the rules that it matched.
 */
import { formatV4, formatV6 } from '../../src/net/address.ts';

export interface Run {
  /** The packet, as the kernel's trace numbers it: the same through the chains of a hook. */
  readonly id: string;
  readonly table: string;
  /** The chain that the run began in: a base chain, or one below it where the base chain's own rules did not match. */
  readonly chain: string;
  readonly family: 4 | 6;
  readonly in: number;
  readonly out: number;
  readonly protocol: number;
  readonly source: { ip: string; port: number };
  readonly destination: { ip: string; port: number };
  readonly tcpFlags: number;
  readonly rules: { chain: string; handle: number }[];
  verdict: number;
}

function addressOf(bytes: Buffer, at: number, family: 4 | 6): string {
  if (family === 4) return formatV4(bytes.readInt32BE(at));
  return formatV6(bytes.readInt32BE(at), bytes.readInt32BE(at + 4), bytes.readInt32BE(at + 8), bytes.readInt32BE(at + 12));
}

/** Runs in the order in which they began. */
export function parseRuns(text: string): Run[] {
  const runs: Run[] = [];
  const open = new Map<string, Run>();
  for (const line of text.split('\n')) {
    const words = line.split(' ');
    if (words[0] === 'H') {
      const [, , table, chain, id, iif, oif, , network, transport] = words as string[];
      const ip = Buffer.from(network!, 'hex');
      const l4 = Buffer.from(transport!, 'hex');
      if (ip.length < 20 || l4.length < 4) {
        open.delete(`${table} ${id}`);
        continue;
      }
      const family = ip.readUInt8(0) >> 4 === 4 ? 4 : 6;
      const protocol = ip.readUInt8(family === 4 ? 9 : 6);
      const run: Run = {
        id: id!,
        table: table!,
        chain: chain!,
        family,
        in: Number(iif),
        out: Number(oif),
        protocol,
        source: { ip: addressOf(ip, family === 4 ? 12 : 8, family), port: l4.readUInt16BE(0) },
        destination: { ip: addressOf(ip, family === 4 ? 16 : 24, family), port: l4.readUInt16BE(2) },
        tcpFlags: protocol === 6 && l4.length >= 14 ? l4.readUInt8(13) & 0x3f : 0,
        rules: [],
        verdict: 1,
      };
      runs.push(run);
      open.set(`${table} ${id}`, run);
    } else if (words[0] === 'S') {
      const [, , table, chain, id, type, handle, verdict] = words as string[];
      const run = open.get(`${table} ${id}`);
      if (run === undefined) continue;
      if (type === '3' && handle !== '0') run.rules.push({ chain: chain!, handle: Number(handle) });
      run.verdict = Number(verdict);
    }
  }
  return runs;
}
