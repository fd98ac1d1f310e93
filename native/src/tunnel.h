// TUNNEL: a TCP connection to 127.0.0.1 inside the namespace, to one of a fixed list of ports. The bytes pass unread.
#pragma once

#include <set>
#include <vector>

#include "stream.h"

namespace probe {

// Bytes from the pod that may be on their way to a peer which has not said that it took them.
constexpr uint64_t kTunnelWindow = 1024 * 1024;

class Tunnel final : public Stream {
 public:
  Tunnel(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, const std::set<uint16_t>& allowed, uint16_t port)
      : Stream(owner, id, cookie), loop_(loop), namespaces_(namespaces), allowed_(allowed), port_(port), window_(kTunnelWindow) {}
  ~Tunnel() override;
  void start() override;
  void pause(bool paused) override;
  bool costly() const override { return true; }
  void data(std::string_view bytes) override;
  void credit(uint32_t taken) override;

 private:
  void opened(const Outcome& outcome);
  void ready(uint32_t events);
  void connected();
  bool read();
  bool write();
  void want();

  Loop& loop_;
  Namespaces& namespaces_;
  const std::set<uint16_t>& allowed_;
  const uint16_t port_;
  const std::shared_ptr<Descriptor> socket_ = std::make_shared<Descriptor>();
  bool watched_ = false;
  bool connected_ = false;
  bool paused_ = false;
  uint64_t window_;            // bytes that the peer still wants
  std::vector<char> waiting_;  // from the peer, for the pod
  Loop::Timer limit_ = 0;
};

}  // namespace probe
