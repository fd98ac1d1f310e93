/** Which addresses are this namespace's own, where nobody told: those from which packets left, and those to which packets came, by the packet type of a cooked capture. */

import type { FlowTable } from '../flow/flow-table.ts';
import {
  M_FROM_US,
  M_IPV6,
  M_MANY_INTERFACES,
  M_SYN_A,
  M_TO_US,
  SLOT_WORDS,
  W_ADDR_A,
  W_ADDR_B,
  W_INTERFACE,
  W_META,
} from '../flow/slot.ts';
import { formatV4, formatV6, isLoopback } from '../net/address.ts';

const LOOPBACK_IFINDEX = 1;

/**
 * Only unicast addresses: of flows on real interfaces, but not of those that pass through (seen on several); and on lo, where whatever is opened has come from here and stays here,
 * the addresses to which connections are opened. A redirected connection goes to loopback: then it is its source.
 */
export function addressesSeen(table: FlowTable): Set<string> {
  const { words } = table;
  const seen = new Set<string>();
  const address = (at: number, meta: number) =>
    (meta & M_IPV6) !== 0 ? formatV6(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) : formatV4(words[at + 3]!);
  for (let slot = 0; slot < table.count; slot++) {
    const w = slot * SLOT_WORDS;
    const meta = words[w + W_META]!;
    if (words[w + W_INTERFACE] === LOOPBACK_IFINDEX) {
      if ((meta & M_SYN_A) === 0) continue;
      const to = address(w + W_ADDR_B, meta);
      // Transparent sockets send from addresses that are not ours, but not to loopback.
      if (!isLoopback(to)) seen.add(to);
      else if (to === '127.0.0.1' || to === '::1') seen.add(address(w + W_ADDR_A, meta));
    } else if ((meta & (M_FROM_US | M_TO_US)) !== 0 && (meta & M_MANY_INTERFACES) === 0)
      seen.add(address(w + ((meta & M_FROM_US) !== 0 ? W_ADDR_A : W_ADDR_B), meta));
  }
  const own = new Set<string>();
  for (const ip of seen) if (!isLoopback(ip) && !isMulticast(ip)) own.add(ip);
  return own;
}

function isMulticast(ip: string): boolean {
  if (ip.includes(':')) return ip.startsWith('ff');
  const first = Number(ip.slice(0, ip.indexOf('.')));
  return first >= 224 || ip === '0.0.0.0';
}
