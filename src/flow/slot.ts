/**
 * The layout of one flow in the flow table: 48 words of 32 bits, seen as 24 doubles too. One flow is one fixed slot; no object is made per packet or per flow.
 *
 * "A" is the side that sent the first packet we saw, "B" the other; which of them opened the flow is told by flags (see `openerIsB` in flow.ts).
 * Word offsets (W_) index the Int32Array at `slot * SLOT_WORDS`, double offsets (D_) the Float64Array at `slot * SLOT_DOUBLES`; they describe disjoint bytes.
 * A slot is three cache lines of 64 bytes: what nearly every packet reads or writes lies in the first two, what few packets touch in the third.
 */
export const SLOT_WORDS = 48;
export const SLOT_DOUBLES = 24;
export const SLOT_BYTES = 192;

/** Address of A, then of B: four words each, most significant first. */
export const W_ADDR_A = 0;
export const W_ADDR_B = 4;
/** Port of A in the upper half, of B in the lower; 0 without ports. */
export const W_PORTS = 8;
/** Protocol number (8 bits) | IP version << 8 | flags below. */
export const W_META = 9;
/** TCP flags seen: A in bits 0-7, B in bits 8-15. */
export const W_TCP_FLAGS = 10;
/** Interface of the first packet: ifindex of the header, or the file's interface id with bit 30 set. */
export const W_INTERFACE = 11;
/** Next sequence number expected from A, from B (valid with M_NEXT_A, M_NEXT_B). */
export const W_NEXT_A = 12;
export const W_NEXT_B = 13;
/** Last acknowledgement number sent by A, by B. */
export const W_ACK_A = 14;
export const W_ACK_B = 15;

export const D_LAST = 8;
export const D_PACKETS_A = 9;
export const D_PACKETS_B = 10;
export const D_BYTES_A = 11;
export const D_BYTES_B = 12;
export const D_FIRST = 13;
/** Index into the side tables of the namespace: the follower of its payload; 0 none. */
export const W_FOLLOWER = 28;
/** The slot that holds the answers of a redirected connection (or the questions, in that slot), -1 none. */
export const W_OTHER_HALF = 29;
/** Sequence number of the SYN of A, of B (valid with M_ISN_A, M_ISN_B). ICMP: type and code (type << 8 | code), then the identifier. */
export const W_ISN_A = 30;
export const W_ISN_B = 31;

/** Time of the last SYN, of the SYN/ACK, of the ACK that ended the handshake; 0 unseen (times are relative to the base, which lies before the first packet). */
export const D_SYN = 16;
export const D_SYN_ACK = 17;
export const D_HANDSHAKE_ACK = 18;
/** Time at which the last hole was noticed. */
export const D_HOLE = 19;
/** Start of the last hole in the sequence of A, of B; its end is in W_HOLE_END. Equal when there is none. */
export const W_HOLE_A = 40;
export const W_HOLE_B = 41;
export const W_HOLE_END_A = 42;
export const W_HOLE_END_B = 43;
export const W_RETRANSMISSIONS = 44;
export const W_OUT_OF_ORDER = 45;
export const W_ZERO_WINDOWS = 46;
/** Rarer facts of the namespace: above 0 the index of an object (extra.ts), below 0 the place of a DNS message (dns-notes.ts); 0 none. */
export const W_EXTRA = 47;

export const M_PROTOCOL = 0xff;
export const M_IPV6 = 1 << 8;
export const M_ISN_A = 1 << 9;
export const M_ISN_B = 1 << 10;
export const M_NEXT_A = 1 << 11;
export const M_NEXT_B = 1 << 12;
/** A SYN without ACK came from A, from B. */
export const M_SYN_A = 1 << 13;
export const M_SYN_B = 1 << 14;
/** A SYN with ACK came from A, from B. */
export const M_SYN_ACK_A = 1 << 15;
export const M_SYN_ACK_B = 1 << 16;
/** An ICMP error quoted this flow. */
export const M_UNREACHABLE = 1 << 17;
/** Seen on more than one interface. */
export const M_MANY_INTERFACES = 1 << 18;
/** The ACK that ended the handshake was seen. */
export const M_HANDSHAKE = 1 << 19;
/** Payload was seen from A, from B. */
export const M_PAYLOAD_A = 1 << 20;
export const M_PAYLOAD_B = 1 << 21;
/** The payload is not followed: nothing to read in it, or its follower gave up. */
export const M_IGNORED = 1 << 23;

/** The first packet left by, or came to, this host (SLL packet type). */
export const M_FROM_US = 1 << 22;
export const M_TO_US = 1 << 24;

/** Interface ids of the file (not of the packet) carry this bit. */
export const FILE_INTERFACE = 1 << 30;
