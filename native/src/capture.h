// CAPTURE: the frames of one namespace, on all its interfaces, with exact counts of what the kernel dropped.
#pragma once

#include <pcap/pcap.h>

#include <string>

#include "stream.h"

namespace probe {

struct CaptureRequest {
  uint32_t snap_length = 0;
  uint32_t ring_bytes = 0;
  std::string filter;
};

constexpr uint32_t kLeastSnapLength = 64;
constexpr uint32_t kLargestSnapLength = 262144;
constexpr uint32_t kLeastRing = 128 * 1024;
constexpr uint32_t kLargestRing = 256 * 1024 * 1024;
constexpr size_t kLongestFilter = 1024;

struct ClosePcap {
  void operator()(pcap_t* handle) const { ::pcap_close(handle); }
};
using PcapHandle = std::unique_ptr<pcap_t, ClosePcap>;

struct OpenCapture {
  PcapHandle handle;
  pcap_stat start{};  // the counters when the capture began
};

// How much kernel memory all rings together may take: it is in no control group's account.
struct RingBudget {
  uint64_t limit = 64 * 1024 * 1024;
  uint64_t taken = 0;
};

class Capture final : public Stream {
 public:
  Capture(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, RingBudget& budget, CaptureRequest request);
  ~Capture() override;

  void start() override;
  void close(const Outcome& why) override;
  void pause(bool paused) override;
  void tick() override;
  void send_stats() override;

 private:
  pcap_t* handle() const { return open_->handle.get(); }
  void opened(const Outcome& outcome);
  // Hands out what lies in the ring, a bounded piece at a time. True: the ring was read to its end.
  bool drain();
  void go_on_closing();
  void count();
  static void take(u_char* self, const pcap_pkthdr* header, const u_char* bytes);

  Loop& loop_;
  Namespaces& namespaces_;
  RingBudget& budget_;
  const CaptureRequest request_;
  // Filled by the work on the namespace thread.
  const std::shared_ptr<OpenCapture> open_ = std::make_shared<OpenCapture>();
  int fd_ = -1;

  // Since the capture began. seen = delivered + dropped + what still lies in the ring.
  uint64_t seen_ = 0;
  uint64_t dropped_ = 0;
  uint64_t delivered_ = 0;
  uint64_t reported_dropped_ = 0;
  pcap_stat last_{};

  bool in_batch_ = false;
  bool closing_ = false;
  Outcome why_;
  int64_t closing_since_ = 0;
  int64_t empty_since_ = 0;
  Loop::Timer timer_ = 0;
};

}  // namespace probe
