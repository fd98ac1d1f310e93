/**
 * The interfaces of a namespace and their addresses, from the kernel's dumps of links and addresses. Source: Linux include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h.
 */
import { netlinkAddress, netlinkAttributes, netlinkMessages } from '../net/netlink.ts';
import type { NamespaceInterface } from './world.ts';

const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
/** And what comes and goes with them: `RTM_NEWRULE`, `RTM_DELRULE`. */
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const LINK_BYTES = 16;
const ADDRESS_BYTES = 8;
const IFLA_IFNAME = 3;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const LONGEST_NAME = 15;
const MOST_INTERFACES = 4096;

const names = new TextDecoder();

/**
 * In the order of their indexes. What is no link or address, or is cut, is passed over.
 * @param dumps of links and of addresses, in parts of any size
 */
export function decodeInterfaces(dumps: Iterable<Uint8Array>, littleEndian = true): NamespaceInterface[] {
  const links = new Map<number, string>();
  const addresses = new Map<number, string[]>();
  for (const bytes of dumps)
    for (const { type, body } of netlinkMessages(bytes, littleEndian)) {
      const data = new DataView(body.buffer, body.byteOffset, body.byteLength);
      if (type === RTM_NEWLINK && body.length >= LINK_BYTES && links.size < MOST_INTERFACES) {
        const name = netlinkAttributes(body.subarray(LINK_BYTES), littleEndian).get(IFLA_IFNAME);
        if (name !== undefined) links.set(data.getInt32(4, littleEndian), textOf(name));
      } else if (type === RTM_NEWADDR && body.length >= ADDRESS_BYTES) {
        const found = netlinkAttributes(body.subarray(ADDRESS_BYTES), littleEndian);
        // On a point-to-point link IFA_ADDRESS is the other end.
        const address = netlinkAddress(found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS));
        if (address === undefined) continue;
        const index = data.getUint32(4, littleEndian);
        const list = addresses.get(index);
        if (list === undefined) addresses.set(index, [address]);
        else if (list.length < MOST_INTERFACES) list.push(address);
      }
    }
  return [...links].sort(([a], [b]) => a - b).map(([index, name]) => ({ index, name, addresses: addresses.get(index) ?? [] }));
}

function textOf(name: Uint8Array): string {
  const end = name.indexOf(0);
  return names.decode(name.subarray(0, Math.min(end === -1 ? name.length : end, LONGEST_NAME)));
}

/** Does a part of the events of links tell of routing rules? */
export function tellsOfRoutingRules(bytes: Uint8Array, littleEndian = true): boolean {
  for (const { type } of netlinkMessages(bytes, littleEndian)) if (type === RTM_NEWRULE || type === RTM_DELRULE) return true;
  return false;
}
