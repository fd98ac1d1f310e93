/** Which addresses are this namespace's own, where nobody told: those from which packets left, and those to which packets came, by the packet type of a cooked capture. */

import type { FlowTable } from '../flow/flow-table.ts';
import { M_FROM_US, M_IPV6, M_TO_US, SLOT_WORDS, W_ADDR_A, W_ADDR_B, W_INTERFACE, W_META } from '../flow/slot.ts';
import { formatV4, formatV6, isLoopback } from '../net/address.ts';

const LOOPBACK_IFINDEX = 1;

/** Only unicast addresses that flows on real interfaces show; what passes through (forwarded) shows none. */
export function addressesSeen(table: FlowTable): Set<string> {
  const { words } = table;
  const left = new Set<string>();
  const came = new Set<string>();
  for (let slot = 0; slot < table.count; slot++) {
    const w = slot * SLOT_WORDS;
    const meta = words[w + W_META]!;
    if (words[w + W_INTERFACE] === LOOPBACK_IFINDEX || (meta & (M_FROM_US | M_TO_US)) === 0) continue;
    const at = w + ((meta & M_FROM_US) !== 0 ? W_ADDR_A : W_ADDR_B);
    const ip = (meta & M_IPV6) !== 0 ? formatV6(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) : formatV4(words[at + 3]!);
    ((meta & M_FROM_US) !== 0 ? left : came).add(ip);
  }
  const own = new Set<string>();
  for (const ip of [...left, ...came]) if (!isLoopback(ip) && !isMulticast(ip)) own.add(ip);
  return own;
}

function isMulticast(ip: string): boolean {
  if (ip.includes(':')) return ip.startsWith('ff');
  const first = Number(ip.slice(0, ip.indexOf('.')));
  return first >= 224 || ip === '0.0.0.0';
}
