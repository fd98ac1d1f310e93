/*
 * The inner loop of the flow table for WebAssembly: common frames in, counted slots out. It does what src/decode/lanes.ts and src/flow/flow-table.ts do, on the same memory and
 * in the same order; these two are its description and take over where it cannot run, and tests hold it against them. Whatever is not common, and whatever must be read beyond
 * counting, it leaves to them: it stops at such a frame, says why, and goes on from there when asked.
 *
 * It runs inside WebAssembly's sandbox: whatever a frame says, it reaches nothing but its own memory.
 *
 * Layout of the memory (bytes; src/flow/loop-memory.ts has the same):
 *   0x020000 header  0x030000 link types  0x080000 lanes, their times  0x0a0000 frame arrays  0x100000 block of frames  0x200000 index of the table  0x20200000 slots
 */
#include <wasm_simd128.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef double f64;

enum { HEADER = 0x20000, LINK_TYPES = 0x30000, LANE_WORDS_AT = 0x80000, LANE_TIMES_AT = 0x88000, FRAMES = 0xa0000, BLOCK = 0x100000, INDEX = 0x200000, SLOTS = 0x20200000 };

/* Header words. */
enum { COUNT, ROOM, MASK, SEED, FOLLOW_ALL, WATCH, CURSOR, END, LANE, LANES_FILLED, FRAME, SLOT, DIRECTION, IS_NEW, COUNTED, TOUCHED, WIRE_BYTES };
static i32 *const header = (i32 *)HEADER;
static f64 *const wire_bytes = (f64 *)(HEADER + 4 * WIRE_BYTES);
static i32 *const link_types = (i32 *)LINK_TYPES;

/* What `run` returns. */
enum { DONE, LEFT, READ, GROW_SLOTS, GROW_INDEX };
/* Bits of WATCH: what Halves waits for (halves.ts). */
enum { WATCH_MIDSTREAM = 1, WATCH_SYNS = 2, WATCH_EARLY = 4 };

/* Frame arrays: room for this many frames. */
enum { FRAMES_MOST = 4096 };
static i32 *const frame_offset = (i32 *)FRAMES;
static i32 *const frame_captured = (i32 *)(FRAMES + 4 * FRAMES_MOST);
static i32 *const frame_wire = (i32 *)(FRAMES + 8 * FRAMES_MOST);
static i32 *const frame_interface = (i32 *)(FRAMES + 12 * FRAMES_MOST);
static f64 *const frame_time = (f64 *)(FRAMES + 16 * FRAMES_MOST);

enum { LANES = 64 };
/* kind: protocol | IPV6, -1 where the frame is left; tcp: flags | window << 16 */
struct lane {
  u32 src[4], dst[4];
  u32 ports;
  i32 kind;
  u32 ip_length, payload;
  u32 tcp, seq, ack;
  u32 hash;
  i32 interface, packet_type;
  u32 payload_at, payload_captured;
};
static struct lane *const lanes = (struct lane *)LANE_WORDS_AT;
static f64 *const lane_time = (f64 *)LANE_TIMES_AT;

/* src/flow/slot.ts */
struct slot {
  u32 a[4], b[4];
  u32 ports;
  u32 meta;
  u32 tcp_flags;
  i32 interface;
  u32 next[2];
  u32 ack[2];
  f64 last, packets[2], bytes[2], first;
  i32 follower, other_half;
  u32 isn[2];
  f64 syn, syn_ack, handshake_ack, hole_time;
  u32 hole[2], hole_end[2];
  i32 retransmissions, out_of_order, zero_windows, extra;
};
_Static_assert(sizeof(struct slot) == 192, "a slot is 192 bytes");
static struct slot *const slots = (struct slot *)SLOTS;
struct entry {
  i32 slot; /* + 1 */
  u32 hash;
};
static struct entry *const table = (struct entry *)INDEX;

#define M_PROTOCOL 0xffu
#define M_IPV6 (1u << 8)
#define M_ISN(side) (1u << (9 + (side)))
#define M_NEXT(side) (1u << (11 + (side)))
#define M_SYN(side) (1u << (13 + (side)))
#define M_SYN_ACK(side) (1u << (15 + (side)))
#define M_MANY_INTERFACES (1u << 18)
#define M_HANDSHAKE (1u << 19)
#define M_PAYLOAD(side) (1u << (20 + (side)))
#define M_FROM_US (1u << 22)
#define M_IGNORED (1u << 23)
#define M_TO_US (1u << 24)
#define FILE_INTERFACE (1 << 30)

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, FLAGS = 0x1ff };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { LINKTYPE_ETHERNET = 1, LINKTYPE_LINUX_SLL = 113, LINKTYPE_LINUX_SLL2 = 276 };
enum { TLS_HANDSHAKE = 22 };

static inline u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static inline u32 be32(const u8 *p) {
  u32 x;
  __builtin_memcpy(&x, p, 4);
  return __builtin_bswap32(x);
}

/* Hardware types whose protocol field is an EtherType for sure. */
static inline int is_ordinary(u32 type) { return type == 1 || type == 772; }

/* Four words in network order, each turned round. */
static inline v128_t turned(v128_t x) { return wasm_i8x16_shuffle(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12); }

/* What lies behind the frame is read along and not looked at: it is memory of this module, too. */
static inline void read_frame(struct lane *l, const u8 *start, const u8 *limit, const u8 *wire_end, i32 link_type, i32 interface) {
  const u8 *at;
  u32 ether_type;
  l->kind = -1;
  l->interface = FILE_INTERFACE | interface;
  l->packet_type = -1;
  if (link_type == LINKTYPE_ETHERNET) {
    at = start + 14;
    if (limit < at + 4) return;
    ether_type = be16(at - 2);
    if (ether_type == 0x8100) {
      ether_type = be16(at + 2);
      at += 4;
    }
  } else if (link_type == LINKTYPE_LINUX_SLL2) {
    at = start + 20;
    if (limit < at || !is_ordinary(be16(start + 8))) return;
    ether_type = be16(start);
    i32 ifindex = (i32)be32(start + 4);
    if (ifindex != 0) l->interface = ifindex;
    l->packet_type = start[10];
  } else if (link_type == LINKTYPE_LINUX_SLL) {
    at = start + 16;
    if (limit < at || !is_ordinary(be16(start + 2))) return;
    ether_type = be16(start + 14);
    l->packet_type = (i32)be16(start);
  } else
    return;

  const u8 *transport;
  u32 length, protocol;
  i32 kind = 0;
  if (ether_type == 0x0800) {
    transport = at + 20;
    if (limit < transport) return;
    if (at[0] != 0x45 || (be16(at + 6) & 0x3fff) != 0) return;
    length = be16(at + 2);
    protocol = at[9];
    v128_t ends = turned(wasm_v128_load(at + 12));
    v128_t zero = wasm_i32x4_const(0, 0, 0, 0);
    wasm_v128_store(l->src, wasm_i32x4_shuffle(ends, zero, 4, 4, 4, 0));
    wasm_v128_store(l->dst, wasm_i32x4_shuffle(ends, zero, 4, 4, 4, 1));
  } else if (ether_type == 0x86dd) {
    transport = at + 40;
    if (limit < transport) return;
    u32 payload = be16(at + 4);
    if (at[0] >> 4 != 6 || payload == 0) return;
    length = 40 + payload;
    protocol = at[6];
    kind = M_IPV6;
    wasm_v128_store(l->src, turned(wasm_v128_load(at + 8)));
    wasm_v128_store(l->dst, turned(wasm_v128_load(at + 24)));
  } else
    return;

  const u8 *end = at + length;
  if (end > wire_end) return;
  const u8 *stop = end < limit ? end : limit;
  i32 captured = (i32)(stop - transport);
  i32 header_length;
  if (protocol == PROTOCOL_TCP) {
    if (captured < 20) return;
    v128_t head = turned(wasm_v128_load(transport));
    u32 fourth = (u32)wasm_i32x4_extract_lane(head, 3);
    header_length = (i32)(fourth >> 28) << 2;
    if (header_length < 20 || header_length > captured) return;
    l->ports = (u32)wasm_i32x4_extract_lane(head, 0);
    l->seq = (u32)wasm_i32x4_extract_lane(head, 1);
    l->ack = (u32)wasm_i32x4_extract_lane(head, 2);
    l->tcp = ((fourth >> 16) & FLAGS) | fourth << 16;
  } else if (protocol == PROTOCOL_UDP) {
    if (captured < 8 || be16(transport + 4) != (u32)(end - transport)) return;
    u32 port = be16(transport + 2);
    if (port == 4789 || port == 8472 || port == 6081) return;
    header_length = 8;
    l->tcp = 0;
    l->ports = be32(transport);
  } else
    return;
  l->payload = (u32)(end - transport - header_length);
  l->payload_at = (u32)(transport + header_length);
  l->payload_captured = (u32)(captured - header_length);
  l->ip_length = length;
  l->kind = (i32)protocol | kind;
}

static inline u32 hash_of(const struct lane *l) {
  u32 seed = (u32)header[SEED];
  u32 a = l->src[3] ^ seed;
  u32 b = l->dst[3] ^ seed;
  if ((u32)l->kind & M_IPV6) {
    a ^= (l->src[0] ^ l->src[1] * 0x27d4eb2fu) * 0x165667b1u ^ l->src[2] * 0x85ebca77u;
    b ^= (l->dst[0] ^ l->dst[1] * 0x27d4eb2fu) * 0x165667b1u ^ l->dst[2] * 0x85ebca77u;
  }
  a = (a ^ (l->ports >> 16) * 0x9e3779b1u) * 0x85ebca6bu;
  a ^= a >> 15;
  a *= 0xc2b2ae35u;
  b = (b ^ (l->ports & 0xffff) * 0x9e3779b1u) * 0x85ebca6bu;
  b ^= b >> 15;
  b *= 0xc2b2ae35u;
  u32 h = a + b + ((u32)l->kind & M_PROTOCOL);
  h = (h ^ h >> 16) * 0x7feb352du;
  return h ^ h >> 15;
}

/* Reads the next lanes, and asks memory for what they will need: together they wait once. */
static void fill(void) {
  i32 from = header[CURSOR];
  i32 count = header[END] - from;
  if (count > LANES) count = LANES;
  u32 mask = (u32)header[MASK];
  u32 touched = 0;
  i32 known = 0;
  const struct entry *entries[LANES];
  for (i32 i = 0; i < count; i++) {
    i32 f = from + i;
    const u8 *start = (const u8 *)(BLOCK + frame_offset[f]);
    i32 captured = frame_captured[f];
    i32 wire = frame_wire[f];
    i32 interface = frame_interface[f];
    struct lane *l = &lanes[i];
    lane_time[i] = frame_time[f];
    read_frame(l, start, start + captured, start + (wire > captured ? wire : captured), link_types[interface], interface);
    if (l->kind == -1) continue;
    l->hash = hash_of(l);
    entries[known++] = &table[l->hash & mask];
  }
  /* Short loops: a processor looks only some hundred instructions ahead. */
  for (i32 i = 0; i < known; i++) touched ^= (u32)entries[i]->slot;
  for (i32 i = 0; i < known; i++) {
    i32 slot = entries[i]->slot;
    const struct slot *s = &slots[slot - (slot != 0)];
    touched ^= s->meta ^ s->isn[0];
  }
  header[TOUCHED] = (i32)touched;
  header[LANE] = 0;
  header[LANES_FILLED] = count;
}

static inline int same_upper(const u32 *x, const u32 *y) { return x[0] == y[0] && x[1] == y[1] && x[2] == y[2]; }

/* The index entry of a lane's tuple, or -1; sets `side`. */
static inline i32 lookup(const struct lane *l, u32 *side) {
  u32 mask = (u32)header[MASK];
  u32 forward = l->ports;
  u32 backward = forward << 16 | forward >> 16;
  u32 kind = (u32)l->kind;
  for (u32 e = l->hash & mask;; e = (e + 1) & mask) {
    i32 slot = table[e].slot;
    if (slot == 0) return -1;
    if (table[e].hash != l->hash) continue;
    const struct slot *s = &slots[slot - 1];
    if ((s->meta & (M_PROTOCOL | M_IPV6)) != kind) continue;
    int v6 = (kind & M_IPV6) != 0;
    if (s->ports == forward && s->a[3] == l->src[3] && s->b[3] == l->dst[3] && (!v6 || (same_upper(s->a, l->src) && same_upper(s->b, l->dst)))) {
      *side = 0;
      return (i32)e;
    }
    if (s->ports == backward && s->a[3] == l->dst[3] && s->b[3] == l->src[3] && (!v6 || (same_upper(s->a, l->dst) && same_upper(s->b, l->src)))) {
      *side = 1;
      return (i32)e;
    }
  }
}

/* Both FINs, or a RST from either side. */
static inline int ended(u32 flags) { return (flags & (RST | RST << 8)) != 0 || (flags & (FIN | FIN << 8)) == (FIN | FIN << 8); }

/* Does this packet begin another flow on the tuple of the slot? */
static inline int is_another(const struct lane *l, f64 time, const struct slot *s, u32 side) {
  u32 protocol = (u32)l->kind & M_PROTOCOL;
  if (protocol == PROTOCOL_TCP) {
    if ((l->tcp & SYN) == 0) return 0;
    u32 meta = s->meta;
    if ((l->tcp & ACK) == 0) {
      if (meta & M_ISN(side)) return s->isn[side] != l->seq;
      return (meta & M_NEXT(side)) != 0 || (meta & (M_SYN_ACK(0) | M_SYN_ACK(1))) != 0 || ended(s->tcp_flags);
    }
    if (meta & M_SYN(side ^ 1)) return 0;
    if (meta & M_ISN(side)) return s->isn[side] != l->seq;
    return (meta & M_NEXT(side)) != 0;
  }
  return time - s->last > (s->packets[1] > 0 ? 120e9 : 30e9);
}

static inline void create(const struct lane *l, f64 time) {
  struct slot *s = &slots[header[COUNT]++];
  wasm_v128_store(s->a, wasm_v128_load(l->src));
  wasm_v128_store(s->b, wasm_v128_load(l->dst));
  s->ports = l->ports;
  s->meta = (u32)l->kind | (l->packet_type == 4 ? M_FROM_US : l->packet_type == 0 ? M_TO_US : 0);
  s->interface = l->interface;
  s->other_half = -1;
  s->first = s->last = time;
}

/* A segment that is not the next one: `ahead` of it, or behind. */
static void follow_disorder(const struct lane *l, f64 time, struct slot *s, u32 side, i32 ahead, u32 end) {
  u32 next = s->next[side];
  if (ahead > 0) {
    s->hole[side] = next;
    s->hole_end[side] = l->seq;
    s->hole_time = time;
    s->next[side] = end;
    return;
  }
  int in_hole = (i32)(l->seq - s->hole[side]) >= 0 && (i32)(s->hole_end[side] - end) >= 0;
  int keep_alive = ahead == -1 && (i32)(end - l->seq) <= 1 && (l->tcp & (SYN | FIN)) == 0;
  if (in_hole && time - s->hole_time < 3e6)
    s->out_of_order++;
  else if (!keep_alive)
    s->retransmissions++;
  if ((i32)(end - next) > 0) s->next[side] = end;
}

static inline void follow_tcp(const struct lane *l, f64 time, struct slot *s, u32 side) {
  u32 flags = l->tcp & FLAGS;
  s->tcp_flags |= (flags & 0xff) << (side << 3);
  u32 meta = s->meta;
  if (flags & SYN) {
    s->isn[side] = l->seq;
    meta |= M_ISN(side);
    if (flags & ACK) {
      meta |= M_SYN_ACK(side);
      if (s->syn_ack == 0) s->syn_ack = time;
    } else {
      meta |= M_SYN(side);
      s->syn = time;
    }
  } else if ((meta & (M_HANDSHAKE | M_SYN(side))) == M_SYN(side) && (flags & (ACK | RST)) == ACK) {
    meta |= M_HANDSHAKE;
    s->handshake_ack = time;
  }
  if (flags & ACK) s->ack[side] = l->ack;
  if (l->tcp >> 16 == 0 && (flags & (RST | SYN | FIN)) == 0) s->zero_windows++;

  u32 length = l->payload + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
  u32 end = l->seq + length;
  if ((meta & M_NEXT(side)) == 0) {
    s->next[side] = end;
    meta |= M_NEXT(side);
  } else if ((i32)length > 0 && (flags & RST) == 0) {
    i32 ahead = (i32)(l->seq - s->next[side]);
    if (ahead == 0)
      s->next[side] = end;
    else
      follow_disorder(l, time, s, side, ahead, end);
  }
  s->meta = meta;
}

static inline int is_dns(u32 port) { return port == 53 || port == 5353 || port == 15053; }

/* From elsewhere to loopback. */
static inline int is_to_loopback(const struct lane *l) {
  if (((u32)l->kind & M_IPV6) == 0) return l->dst[3] >> 24 == 127 && l->src[3] >> 24 != 127;
  int to = (l->dst[0] | l->dst[1] | l->dst[2]) == 0 && l->dst[3] == 1;
  return to && !((l->src[0] | l->src[1] | l->src[2]) == 0 && l->src[3] == 1);
}

/* Is there more to do with this segment than to count it? What need not be followed is marked. */
static inline int is_to_read(const struct lane *l, struct slot *s, int is_new) {
  if (((u32)l->kind & M_PROTOCOL) != PROTOCOL_TCP) return is_dns(l->ports >> 16) || is_dns(l->ports & 0xffff);
  u32 flags = l->tcp & FLAGS;
  if (s->other_half == -1) {
    u32 watch = (u32)header[WATCH];
    if ((watch & WATCH_MIDSTREAM) || is_to_loopback(l)) return 1;
    if (is_new && (flags & ACK) && ((watch & WATCH_SYNS) || ((flags & SYN) == 0 && (watch & WATCH_EARLY)))) return 1;
  }
  if (s->meta & M_IGNORED) return 0;
  if (s->follower != 0) return l->payload > 0 || (flags & (FIN | RST)) != 0;
  if (l->payload == 0) return 0;
  if (header[FOLLOW_ALL] || (l->payload_captured > 0 && *(const u8 *)l->payload_at == TLS_HANDSHAKE)) return 1;
  s->meta |= M_IGNORED;
  return 0;
}

/*
 * Goes on with the frames [CURSOR, END) of the frame arrays.
 *
 * DONE         all were counted.
 * LEFT         the frame FRAME is for decode.ts; it was not counted.
 * READ         the frame FRAME was counted to SLOT, and there is more to read of it.
 * GROW_SLOTS, GROW_INDEX   a new flow needs room; the frame was not counted and comes again.
 */
__attribute__((export_name("run"))) i32 run(void) {
  for (;;) {
    i32 lane = header[LANE];
    if (lane >= header[LANES_FILLED]) {
      header[CURSOR] += header[LANES_FILLED];
      header[LANE] = header[LANES_FILLED] = 0;
      if (header[CURSOR] >= header[END]) return DONE;
      fill();
      lane = 0;
    }
    i32 filled = header[LANES_FILLED];
    for (; lane < filled; lane++) {
      const struct lane *l = &lanes[lane];
      i32 frame = header[CURSOR] + lane;
      if (l->kind == -1) {
        header[FRAME] = frame;
        header[LANE] = lane + 1;
        return LEFT;
      }
      f64 time = lane_time[lane];
      u32 side = 0;
      i32 e = lookup(l, &side);
      i32 slot = e < 0 ? -1 : table[e].slot - 1;
      int is_new = slot < 0 || is_another(l, time, &slots[slot], side);
      if (is_new) {
        i32 next = header[COUNT];
        if (next >= header[ROOM] || (slot < 0 && (u32)next > (u32)header[MASK] >> 1)) {
          header[LANE] = lane;
          return next >= header[ROOM] ? GROW_SLOTS : GROW_INDEX;
        }
        if (slot < 0) {
          u32 mask = (u32)header[MASK];
          u32 at = l->hash & mask;
          while (table[at].slot != 0) at = (at + 1) & mask;
          table[at].slot = next + 1;
          table[at].hash = l->hash;
        } else
          table[e].slot = next + 1;
        slot = next;
        side = 0;
        create(l, time);
      }
      struct slot *s = &slots[slot];
      if (time > s->last) s->last = time;
      s->packets[side] += 1;
      s->bytes[side] += l->ip_length;
      if (l->payload > 0) s->meta |= M_PAYLOAD(side);
      if (s->interface != l->interface) {
        s->meta |= M_MANY_INTERFACES;
        if (((u32)l->kind & M_PROTOCOL) == PROTOCOL_TCP) s->tcp_flags |= (l->tcp & 0xff) << (side << 3);
      } else if (((u32)l->kind & M_PROTOCOL) == PROTOCOL_TCP)
        follow_tcp(l, time, s, side);
      header[COUNTED]++;
      *wire_bytes += frame_wire[frame];
      if (is_to_read(l, s, is_new)) {
        header[FRAME] = frame;
        header[SLOT] = slot;
        header[DIRECTION] = (i32)side;
        header[IS_NEW] = is_new;
        header[LANE] = lane + 1;
        return READ;
      }
    }
    header[LANE] = lane;
  }
}
