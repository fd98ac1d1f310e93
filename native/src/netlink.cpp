#include "netlink.h"

#include <linux/inet_diag.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace probe {
namespace {

constexpr size_t kDatagram = 64 * 1024;
constexpr size_t kBatchBytes = 256 * 1024;
constexpr int kDumpLimitMs = 30000;

constexpr uint32_t group(unsigned number) { return 1u << (number - 1); }

struct Membership {
  int protocol;
  uint32_t groups;
};

Membership membership(EventKind kind) {
  switch (kind) {
    case EventKind::Conntrack:
      // What changes in between is five of seven events of a TCP connection, and tells nothing of its translation.
      return {NETLINK_NETFILTER, group(NFNLGRP_CONNTRACK_NEW) | group(NFNLGRP_CONNTRACK_DESTROY)};
    case EventKind::Ruleset:
      return {NETLINK_NETFILTER, group(NFNLGRP_NFTABLES)};
    case EventKind::Links:
      break;
  }
  return {NETLINK_ROUTE, group(RTNLGRP_LINK) | group(RTNLGRP_IPV4_IFADDR) | group(RTNLGRP_IPV6_IFADDR) | group(RTNLGRP_IPV4_RULE) | group(RTNLGRP_IPV6_RULE)};
}

Outcome open_events(EventKind kind, uint32_t receive_buffer, Descriptor& socket) {
  const Membership wanted = membership(kind);
  Descriptor opened(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, wanted.protocol));
  if (!opened.valid()) return Outcome::failed("cannot open a netlink socket");
  const int size = static_cast<int>(receive_buffer);
  if (::setsockopt(opened.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) return Outcome::failed("cannot set the receive buffer");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = wanted.groups;
  // Without bind() the socket has no port, and then hears nothing.
  if (::bind(opened.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return Outcome::failed("cannot join the netlink groups");
  socket = std::move(opened);
  return {};
}

// A request for everything, behind its header.
template <typename Body>
Outcome ask(int protocol, uint16_t type, const Body& body, Descriptor& socket) {
  Descriptor opened(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!opened.valid()) return Outcome::failed("cannot open a netlink socket");
  struct {
    nlmsghdr header;
    Body body;
  } request{};
  static_assert(sizeof(nlmsghdr) % NLMSG_ALIGNTO == 0);
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof body);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = 1;
  request.body = body;
  if (::send(opened.get(), &request, request.header.nlmsg_len, 0) < 0) return Outcome::failed("cannot ask for a dump");
  socket = std::move(opened);
  return {};
}

Outcome open_dump(DumpKind kind, uint8_t family, uint8_t protocol, Descriptor& socket) {
  switch (kind) {
    case DumpKind::Conntrack: {
      nfgenmsg body{};
      body.nfgen_family = family;
      return ask(NETLINK_NETFILTER, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, body, socket);
    }
    case DumpKind::Sockets: {
      inet_diag_req_v2 body{};
      body.sdiag_family = family;
      body.sdiag_protocol = protocol;
      body.idiag_states = ~0u;
      return ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, body, socket);
    }
    case DumpKind::Links: {
      ifinfomsg body{};
      return ask(NETLINK_ROUTE, RTM_GETLINK, body, socket);
    }
    case DumpKind::Addresses: {
      ifaddrmsg body{};
      body.ifa_family = family;
      return ask(NETLINK_ROUTE, RTM_GETADDR, body, socket);
    }
    case DumpKind::Rules:
      break;
  }
  rtmsg body{};
  body.rtm_family = family;
  return ask(NETLINK_ROUTE, RTM_GETRULE, body, socket);
}

// Where in a datagram of the kernel the dump ends: its messages say so in their headers.
bool ends_dump(const char* bytes, size_t length, Outcome& outcome) {
  for (size_t at = 0; at + sizeof(nlmsghdr) <= length;) {
    nlmsghdr header{};
    std::memcpy(&header, bytes + at, sizeof header);
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      int32_t error = 0;
      if (at + sizeof header + sizeof error <= length) std::memcpy(&error, bytes + at + sizeof header, sizeof error);
      if (error < 0) outcome = {EndCode::Failed, -error, std::string("the kernel ended the dump: ") + std::strerror(-error)};
      return true;
    }
    if (header.nlmsg_len < sizeof header) return false;
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return false;
}

}  // namespace

bool is_event_kind(uint8_t kind) { return kind >= 1 && kind <= 3; }
bool is_dump_kind(uint8_t kind) { return kind >= 1 && kind <= 5; }

NetlinkStream::~NetlinkStream() {
  if (watched_) loop_.forget(socket_->get());
}

void NetlinkStream::read_when_ready() {
  watched_ = true;
  loop_.watch(socket_->get(), owner_.has_room() ? EPOLLIN : 0u, [this](uint32_t) { readable(); });
}

void NetlinkStream::pause(bool paused) {
  if (watched_) loop_.change(socket_->get(), paused ? 0u : EPOLLIN);
}

void NetlinkStream::begin_message() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  Outbox& out = owner_.outbox();
  out.begin(Reply::Netlink, id_);
  out.u32(static_cast<uint32_t>(now.tv_sec));
  out.u32(static_cast<uint32_t>(now.tv_nsec));
}

ssize_t NetlinkStream::receive(char* buffer, size_t size) {
  for (;;) {
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(socket_->get(), buffer, size, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return 0;
    if (got >= 0 && from.nl_pid != 0) continue;  // only the kernel has port 0
    return got;
  }
}

void NetlinkEvents::start() {
  inside(
      namespaces_, [socket = socket_, kind = kind_, size = receive_buffer_] { return open_events(kind, size, *socket); }, &NetlinkEvents::opened);
}

void NetlinkEvents::opened(const Outcome& outcome) {
  if (!outcome.good()) return finish(outcome);
  read_when_ready();
  send_opened();
}

void NetlinkEvents::readable() {
  if (over() || !owner_.has_room()) return;
  alignas(nlmsghdr) static char datagram[kDatagram];
  Outbox& out = owner_.outbox();
  bool begun = false;
  bool lost = false;
  while (!begun || out.message_bytes() < kBatchBytes) {
    const ssize_t length = receive(datagram, sizeof datagram);
    if (length < 0 && errno == ENOBUFS) {
      overruns_ += 1;
      lost = true;
      continue;
    }
    if (length <= 0) break;
    if (!begun) {
      begin_message();
      begun = true;
    }
    out.bytes(datagram, static_cast<size_t>(length));
  }
  if (begun) out.end();
  if (lost) report_loss();
}

void NetlinkEvents::report_loss() {
  // ENOBUFS says that events were lost, the socket's drop counter (sock_diag.h, SK_MEMINFO_DROPS) how many.
  uint32_t memory[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof memory;
  if (::getsockopt(socket_->get(), SOL_SOCKET, SO_MEMINFO, memory, &length) != 0) return;
  const uint32_t more = memory[SK_MEMINFO_DROPS] - last_drops_;
  if (more == 0 && overruns_ == reported_overruns_) return;
  last_drops_ = memory[SK_MEMINFO_DROPS];
  reported_overruns_ = overruns_;
  drops_ += more;
  Outbox& out = owner_.outbox();
  out.begin(Reply::Lost, id_);
  out.u64(overruns_);
  out.u64(drops_);
  out.end();
}

void NetlinkEvents::tick() {
  if (!over() && watched_ && owner_.has_room()) report_loss();
}

void NetlinkEvents::close(const Outcome& why) {
  if (watched_) {
    readable();
    report_loss();
  }
  finish(why);
}

void NetlinkDump::start() {
  limit_ = loop_.after(kDumpLimitMs, [this] { finish({EndCode::TimedOut, 0, "the dump took longer than 30 s"}); });
  inside(
      namespaces_,
      [socket = socket_, kind = kind_, family = family_, protocol = protocol_] { return open_dump(kind, family, protocol, *socket); }, &NetlinkDump::opened);
}

void NetlinkDump::opened(const Outcome& outcome) {
  if (!outcome.good()) return finish(outcome);
  read_when_ready();
}

void NetlinkDump::readable() {
  if (over()) return;
  alignas(nlmsghdr) static char datagram[kDatagram];
  Outbox& out = owner_.outbox();
  while (owner_.has_room()) {
    const ssize_t length = receive(datagram, sizeof datagram);
    if (length < 0) return finish(Outcome::failed("cannot read the dump"));
    if (length == 0) return;
    begin_message();
    out.bytes(datagram, static_cast<size_t>(length));
    out.end();
    Outcome outcome;
    if (ends_dump(datagram, static_cast<size_t>(length), outcome)) return finish(outcome);
  }
}

}  // namespace probe
