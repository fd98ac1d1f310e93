/*
 * Sends packets into a network namespace and prints which netfilter rules the kernel ran for them.
 *
 *   kernel-trace POD PEER [quiet] < commands > runs
 *
 * POD and PEER are names in /run/netns. quiet: nothing is traced, do not wait for it. Commands, one a line:
 *   T PORT                       listen on this TCP port of POD with IP_TRANSPARENT, both families
 *   P INTERFACE HEX              send this Ethernet frame from PEER's interface
 *   O FAMILY UID GID MARK HEX    send this IP packet from POD by a raw socket that belongs to this user and group
 * Output: a line for each message of the rules' trace,
 *   H FAMILY TABLE CHAIN ID IIF OIF MARK HEX HEX     a base chain begins; network header, transport header
 *   S FAMILY TABLE CHAIN ID TYPE HANDLE VERDICT      a step in it: TYPE 1 policy, 2 return, 3 rule
 *   . N                          all that was seen after command N (from 0)
 *
 * The rules must set meta nftrace. Source: Linux include/uapi/linux/netfilter/nf_tables.h, enum nft_trace_attributes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif
#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void enter(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET)) die(path);
  close(fd);
}

static size_t unhex(const char *text, uint8_t *to, size_t room) {
  size_t n = 0;
  for (; n < room && text[2 * n] && text[2 * n] != '\n' && text[2 * n + 1]; n++) {
    unsigned byte;
    if (sscanf(text + 2 * n, "%2x", &byte) != 1) break;
    to[n] = byte;
  }
  return n;
}

static void hex(const uint8_t *bytes, size_t length) {
  putchar(' ');
  if (!length) putchar('-');
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
}

static uint32_t be32(const void *at) {
  uint32_t v;
  memcpy(&v, at, 4);
  return ntohl(v);
}

static void print_message(const struct nlmsghdr *header) {
  const struct nfgenmsg *gen = NLMSG_DATA(header);
  const char *table = "", *chain = "";
  const uint8_t *network = NULL, *transport = NULL;
  size_t network_length = 0, transport_length = 0;
  uint32_t id = 0, type = 0, verdict = 0, mark = 0, iif = 0, oif = 0;
  uint64_t handle = 0;
  int left = header->nlmsg_len - NLMSG_LENGTH(sizeof *gen);
  const uint8_t *at = (const uint8_t *)gen + NLMSG_ALIGN(sizeof *gen);
  while (left >= (int)sizeof(struct nlattr)) {
    const struct nlattr *a = (const void *)at;
    if (a->nla_len < sizeof *a || a->nla_len > left) break;
    const uint8_t *value = at + NLA_HDRLEN;
    size_t length = a->nla_len - NLA_HDRLEN;
    switch (a->nla_type & NLA_TYPE_MASK) {
      case NFTA_TRACE_TABLE: table = (const char *)value; break;
      case NFTA_TRACE_CHAIN: chain = (const char *)value; break;
      case NFTA_TRACE_RULE_HANDLE: handle = (uint64_t)be32(value) << 32 | be32(value + 4); break;
      case NFTA_TRACE_TYPE: type = be32(value); break;
      case NFTA_TRACE_ID: id = be32(value); break;
      case NFTA_TRACE_MARK: mark = be32(value); break;
      case NFTA_TRACE_IIF: iif = be32(value); break;
      case NFTA_TRACE_OIF: oif = be32(value); break;
      case NFTA_TRACE_NETWORK_HEADER: network = value; network_length = length; break;
      case NFTA_TRACE_TRANSPORT_HEADER: transport = value; transport_length = length; break;
      case NFTA_TRACE_POLICY: verdict = be32(value); break;
      case NFTA_TRACE_VERDICT:
        if (length >= NLA_HDRLEN + 4) verdict = be32(value + NLA_HDRLEN);
        break;
    }
    int step = NLA_ALIGN(a->nla_len);
    at += step;
    left -= step;
  }
  if (network) {
    printf("H %u %s %s %08x %u %u %u", gen->nfgen_family, table, chain, id, iif, oif, mark);
    hex(network, network_length);
    hex(transport, transport_length);
    putchar('\n');
  }
  printf("S %u %s %s %08x %u %llu %d\n", gen->nfgen_family, table, chain, id, type, (unsigned long long)handle, (int)verdict);
}

static int trace;

/* Messages come while the packet is sent; a softirq may lag behind a little. */
static void drain(int wait_ms) {
  static uint8_t buffer[1 << 18];
  int seen = 0;
  for (;;) {
    ssize_t n = recv(trace, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0) {
      if (errno == ENOBUFS) {
        fprintf(stderr, "the kernel dropped trace messages\n");
        exit(3);
      }
      if (seen || !wait_ms) return;
      struct pollfd p = {.fd = trace, .events = POLLIN};
      if (poll(&p, 1, wait_ms) <= 0) return;
      wait_ms = 0;
      continue;
    }
    seen = 1;
    int left = (int)n;
    for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, (unsigned)left); h = NLMSG_NEXT(h, left))
      if ((h->nlmsg_type & 0xff) == NFT_MSG_TRACE) print_message(h);
  }
}

static void listen_transparent(int port) {
  int one = 1, zero = 0;
  struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  (void)zero;
  int four = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int six = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (setsockopt(four, SOL_IP, 19 /* IP_TRANSPARENT */, &one, sizeof one)) die("IP_TRANSPARENT");
  if (setsockopt(six, SOL_IPV6, 75 /* IPV6_TRANSPARENT */, &one, sizeof one)) die("IPV6_TRANSPARENT");
  if (bind(four, (void *)&any4, sizeof any4) || listen(four, 4096)) die("listen");
  if (bind(six, (void *)&any6, sizeof any6) || listen(six, 4096)) die("listen 6");
}

static struct {
  int family, fd;
  unsigned uid, gid, mark;
} sockets[512];
static int socket_count;

static int raw_socket(int family, unsigned uid, unsigned gid, unsigned mark) {
  int one = 1;
  for (int i = 0; i < socket_count; i++)
    if (sockets[i].family == family && sockets[i].uid == uid && sockets[i].gid == gid && sockets[i].mark == mark) return sockets[i].fd;
  if (socket_count == 512) {
    close(sockets[0].fd);
    memmove(sockets, sockets + 1, sizeof sockets[0] * --socket_count);
  }
  setfsgid(gid);
  setfsuid(uid);
  int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  setfsuid(0);
  setfsgid(0);
  if (fd < 0) die("raw socket");
  if (family == 6) {
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_HDRINCL, &one, sizeof one)) die("IPV6_HDRINCL");
  } else if (setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &one, sizeof one)) die("IP_HDRINCL");
  if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark)) die("SO_MARK");
  sockets[socket_count].family = family;
  sockets[socket_count].fd = fd;
  sockets[socket_count].uid = uid;
  sockets[socket_count].gid = gid;
  sockets[socket_count++].mark = mark;
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) return 2;
  int wait_ms = argc == 4 ? 0 : 20;
  enter(argv[2]);
  int packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (packet < 0) die("packet socket");
  struct if_nameindex *names = if_nameindex();
  enter(argv[1]);
  trace = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  int group = NFNLGRP_NFTRACE, room = 64 << 20;
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  if (trace < 0 || bind(trace, (void *)&self, sizeof self)) die("netlink");
  setsockopt(trace, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (setsockopt(trace, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group)) die("trace group");
  static char line[1 << 16];
  static uint8_t bytes[1 << 15];
  for (long number = 0; fgets(line, sizeof line, stdin); number++) {
    char name[64];
    unsigned family, uid, gid, mark, port;
    int at = 0, sent = 1;
    if (sscanf(line, "T %u", &port) == 1) listen_transparent(port), sent = 0;
    else if (sscanf(line, "P %63s %n", name, &at) == 1 && at) {
      struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
      for (struct if_nameindex *i = names; i->if_name; i++)
        if (!strcmp(i->if_name, name)) to.sll_ifindex = i->if_index;
      size_t n = unhex(line + at, bytes, sizeof bytes);
      memcpy(to.sll_addr, bytes, 6);
      if (sendto(packet, bytes, n, 0, (void *)&to, sizeof to) < 0) fprintf(stderr, "line %ld: %s\n", number, strerror(errno));
    } else if (sscanf(line, "O %u %u %u %u %n", &family, &uid, &gid, &mark, &at) == 4 && at) {
      size_t n = unhex(line + at, bytes, sizeof bytes);
      int fd = raw_socket(family, uid, gid, mark);
      struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
      struct sockaddr_in to4 = {.sin_family = AF_INET};
      memcpy(&to6.sin6_addr, bytes + 24, 16);
      memcpy(&to4.sin_addr, bytes + 16, 4);
      const void *to = family == 6 ? (void *)&to6 : (void *)&to4;
      if (sendto(fd, bytes, n, 0, to, family == 6 ? sizeof to6 : sizeof to4) < 0 && errno != EPERM) printf("E %ld %d\n", number, errno);
    } else {
      fprintf(stderr, "line %ld: no command\n", number);
      return 2;
    }
    if (sent) drain(wait_ms);
    printf(". %ld\n", number);
  }
  drain(30);
  return 0;
}
