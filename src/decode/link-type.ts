/**
 * Link types: what the first byte of a frame is. The numbers are those of capture files (LINKTYPE_*).
 * Source: https://www.tcpdump.org/linktypes.html.
 */
export const LINKTYPE_NULL = 0;
export const LINKTYPE_ETHERNET = 1;
export const LINKTYPE_PPP = 9;
/** DLT_RAW has a number of its own per system (12; OpenBSD 14); files should use 101 and do not always. */
export const LINKTYPE_RAW_12 = 12;
export const LINKTYPE_RAW_14 = 14;
export const LINKTYPE_PPP_HDLC = 50;
export const LINKTYPE_PPP_ETHER = 51;
export const LINKTYPE_RAW = 101;
export const LINKTYPE_LOOP = 108;
export const LINKTYPE_LINUX_SLL = 113;
export const LINKTYPE_IPV4 = 228;
export const LINKTYPE_IPV6 = 229;
export const LINKTYPE_LINUX_SLL2 = 276;

/** Names of the link types that are decoded. */
const supported: ReadonlyMap<number, string> = new Map([
  [LINKTYPE_NULL, 'NULL'],
  [LINKTYPE_ETHERNET, 'EN10MB'],
  [LINKTYPE_PPP, 'PPP'],
  [LINKTYPE_RAW_12, 'RAW'],
  [LINKTYPE_RAW_14, 'RAW'],
  [LINKTYPE_PPP_HDLC, 'PPP_HDLC'],
  [LINKTYPE_PPP_ETHER, 'PPP_ETHER'],
  [LINKTYPE_RAW, 'RAW'],
  [LINKTYPE_LOOP, 'LOOP'],
  [LINKTYPE_LINUX_SLL, 'LINUX_SLL'],
  [LINKTYPE_IPV4, 'IPV4'],
  [LINKTYPE_IPV6, 'IPV6'],
  [LINKTYPE_LINUX_SLL2, 'LINUX_SLL2'],
]);

/** Names of link types that people meet and that are not decoded. */
const unsupported: ReadonlyMap<number, string> = new Map([
  [6, 'IEEE802_5'],
  [10, 'FDDI'],
  [104, 'C_HDLC'],
  [105, 'IEEE802_11'],
  [107, 'FRELAY'],
  [117, 'PFLOG'],
  [119, 'IEEE802_11_PRISM'],
  [127, 'IEEE802_11_RADIOTAP'],
  [129, 'ARCNET_LINUX'],
  [147, 'USER0'],
  [163, 'IEEE802_11_AVS'],
  [189, 'USB_LINUX'],
  [192, 'PPI'],
  [195, 'IEEE802_15_4_WITHFCS'],
  [201, 'BLUETOOTH_HCI_H4_WITH_PHDR'],
  [220, 'USB_LINUX_MMAPPED'],
  [239, 'NFLOG'],
  [247, 'INFINIBAND'],
  [253, 'NETLINK'],
  [271, 'VSOCK'],
]);

const WIRELESS: ReadonlySet<number> = new Set([105, 119, 127, 163, 192]);

/** `EN10MB`, `LINUX_SLL2`, …; `LINKTYPE_<n>` where it has no name here. */
export function linkTypeName(linkType: number): string {
  return supported.get(linkType) ?? unsupported.get(linkType) ?? `LINKTYPE_${linkType}`;
}

/** Why frames of this link type are not decoded, in a sentence; `undefined` when they are. */
export function linkTypeProblem(linkType: number): string | undefined {
  if (supported.has(linkType)) return undefined;
  const wish = WIRELESS.has(linkType)
    ? 'record the pod interface or "any", since IEEE 802.11 frames are not read'
    : `one of ${[...new Set(supported.values())].join(', ')} is needed`;
  return `Cannot decode frames of link type "${linkTypeName(linkType)}" (${linkType}): ${wish}; their packets are counted and nothing more`;
}
