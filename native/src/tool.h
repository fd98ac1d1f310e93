// TOOL: a program of a fixed list, run inside the namespace, its output passed on unread.
#pragma once

#include <sys/types.h>

#include "stream.h"

namespace probe {

enum class ToolKind : uint8_t {
  IptablesSave = 1,
  Ip6tablesSave = 2,
  IptablesLegacySave = 3,
  Ip6tablesLegacySave = 4,
  NftRuleset = 5,
  IpRule = 6,
  Ip6Rule = 7,
};
constexpr uint8_t kTools = 7;

// Bit n - 1: the program of ToolKind n is installed.
uint32_t installed_tools();

class Tool final : public Stream {
 public:
  Tool(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, ToolKind kind)
      : Stream(owner, id, cookie), loop_(loop), namespaces_(namespaces), kind_(kind) {}
  ~Tool() override;
  void start() override;
  void pause(bool paused) override;
  bool costly() const override { return true; }

  // The program as it runs: ended with its owner.
  struct Running {
    ~Running();
    pid_t process = -1;
    Descriptor ended;  // readable when the program has ended
    Descriptor output;
    Descriptor errors;
  };

 private:
  void opened(const Outcome& outcome);
  void pass_on(Descriptor& pipe, uint8_t channel);
  void watch(Descriptor& pipe, uint8_t channel);
  void finish_when_over();

  Loop& loop_;
  Namespaces& namespaces_;
  const ToolKind kind_;
  const std::shared_ptr<Running> running_ = std::make_shared<Running>();
  Loop::Timer limit_ = 0;
  size_t passed_ = 0;
  Outcome failure_;
  bool watching_end_ = false;
};

}  // namespace probe
