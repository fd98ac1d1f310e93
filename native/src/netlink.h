// EVENTS and DUMP: netlink messages of a namespace, as the kernel wrote them. Only their headers are looked at, to find the end of a dump.
#pragma once

#include "stream.h"

namespace probe {

enum class EventKind : uint8_t { Conntrack = 1, Ruleset = 2, Links = 3 };
enum class DumpKind : uint8_t { Conntrack = 1, Sockets = 2, Links = 3, Addresses = 4, Rules = 5 };

constexpr uint32_t kLeastReceiveBuffer = 64 * 1024;
constexpr uint32_t kLargestReceiveBuffer = 64 * 1024 * 1024;

bool is_event_kind(uint8_t kind);
bool is_dump_kind(uint8_t kind);

class NetlinkStream : public Stream {
 public:
  NetlinkStream(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces)
      : Stream(owner, id, cookie), loop_(loop), namespaces_(namespaces) {}
  ~NetlinkStream() override;
  void pause(bool paused) override;

 protected:
  void read_when_ready();
  virtual void readable() = 0;
  // NETLINK with the time of reading; the kernel's messages follow.
  void begin_message();
  // One datagram of the kernel into `buffer`. Length, 0: there is none now, -1: errno.
  ssize_t receive(char* buffer, size_t size);

  Loop& loop_;
  Namespaces& namespaces_;
  // Filled by the work on the namespace thread.
  const std::shared_ptr<Descriptor> socket_ = std::make_shared<Descriptor>();
  bool watched_ = false;
};

class NetlinkEvents final : public NetlinkStream {
 public:
  NetlinkEvents(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, EventKind kind, uint32_t receive_buffer)
      : NetlinkStream(owner, id, cookie, loop, namespaces), kind_(kind), receive_buffer_(receive_buffer) {}
  void start() override;
  void close(const Outcome& why) override;
  void tick() override;

 private:
  void opened(const Outcome& outcome);
  void readable() override;
  void report_loss();

  const EventKind kind_;
  const uint32_t receive_buffer_;
  uint64_t overruns_ = 0;
  uint64_t drops_ = 0;
  uint64_t reported_overruns_ = 0;
  uint32_t last_drops_ = 0;
};

class NetlinkDump final : public NetlinkStream {
 public:
  NetlinkDump(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, DumpKind kind, uint8_t family, uint8_t protocol)
      : NetlinkStream(owner, id, cookie, loop, namespaces), kind_(kind), family_(family), protocol_(protocol) {}
  ~NetlinkDump() override { loop_.cancel(limit_); }
  void start() override;

 private:
  void opened(const Outcome& outcome);
  void readable() override;

  const DumpKind kind_;
  const uint8_t family_;
  const uint8_t protocol_;
  Loop::Timer limit_ = 0;
};

}  // namespace probe
