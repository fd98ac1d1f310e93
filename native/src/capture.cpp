#include "capture.h"

#include "open-capture.h"

namespace probe {
namespace {

constexpr size_t kBatchBytes = 256 * 1024;
constexpr int kDrainMs = 2 * kReadTimeoutMs;  // after which the last, half-filled block has been handed over
constexpr int kQuietMs = 10 * kReadTimeoutMs;  // an empty ring for so long gives nothing any more
constexpr int kGiveUpMs = 5000;               // a peer that does not read: the rest is reported as undrained

}  // namespace

Capture::Capture(StreamOwner& owner, uint32_t id, uint64_t cookie, Loop& loop, Namespaces& namespaces, RingBudget& budget, CaptureRequest request)
    : Stream(owner, id, cookie), loop_(loop), namespaces_(namespaces), budget_(budget), request_(std::move(request)) {
  budget_.taken += request_.ring_bytes;
}

Capture::~Capture() {
  budget_.taken -= request_.ring_bytes;
  loop_.cancel(timer_);
  if (fd_ < 0) return;
  loop_.forget(fd_);
  // Closing waits for the kernel, some 8 ms.
  namespaces_.aside([open = open_] { open->handle.reset(); });
}

void Capture::start() {
  if (budget_.taken > budget_.limit) {
    finish({EndCode::Refused, 0, "the rings would take " + std::to_string(budget_.taken) + " bytes together, at most " + std::to_string(budget_.limit) + " are wanted"});
    return;
  }
  inside(
      namespaces_, [open = open_, request = request_] { return open_capture(request, *open); }, &Capture::opened);
}

void Capture::opened(const Outcome& outcome) {
  if (!outcome.good()) return finish(outcome);
  last_ = open_->start;
  fd_ = ::pcap_get_selectable_fd(handle());
  loop_.watch(fd_, owner_.has_room() ? EPOLLIN : 0u, [this](uint32_t) { drain(); });
  send_opened();
}

void Capture::pause(bool paused) {
  if (fd_ >= 0) loop_.change(fd_, paused ? 0u : EPOLLIN);
}

void Capture::take(u_char* self, const pcap_pkthdr* header, const u_char* bytes) {
  auto& capture = *reinterpret_cast<Capture*>(self);
  Outbox& out = capture.owner_.outbox();
  if (!capture.in_batch_) {
    out.begin(Reply::Frames, capture.id_);
    capture.in_batch_ = true;
  }
  out.u32(static_cast<uint32_t>(header->ts.tv_sec));
  out.u32(static_cast<uint32_t>(header->ts.tv_usec));  // nanoseconds: the precision was asked for
  out.u32(header->caplen);
  out.u32(header->len);
  out.bytes(bytes, header->caplen);
  capture.delivered_ += 1;
  if (out.message_bytes() >= kBatchBytes) ::pcap_breakloop(capture.handle());
}

bool Capture::drain() {
  if (over() || fd_ < 0 || !owner_.has_room()) return false;
  const uint64_t before = delivered_;
  const int result = ::pcap_dispatch(handle(), -1, take, reinterpret_cast<u_char*>(this));
  if (in_batch_) owner_.outbox().end();
  in_batch_ = false;
  // An error of the device ends the capture, after what lies in the ring: dispatching goes on until it gives nothing.
  if (result == PCAP_ERROR && delivered_ == before && !closing_) close({EndCode::Failed, 0, ::pcap_geterr(handle())});
  return result == 0 || result == PCAP_ERROR;
}

void Capture::count() {
  pcap_stat now{};
  if (::pcap_stats(handle(), &now) != 0) return;
  // 32-bit counters that wrap.
  seen_ += now.ps_recv - last_.ps_recv;
  dropped_ += now.ps_drop - last_.ps_drop;
  last_ = now;
}

void Capture::send_stats() {
  if (over() || fd_ < 0) return;
  count();
  reported_dropped_ = dropped_;
  Outbox& out = owner_.outbox();
  out.begin(Reply::Stats, id_);
  out.u64(seen_);
  out.u64(dropped_);
  out.u64(delivered_);
  out.u64(seen_ - dropped_ - delivered_);
  out.end();
}

void Capture::tick() {
  if (fd_ < 0) return;
  drain();  // a second line of defence, should a wake-up ever be missed
  count();
  if (dropped_ != reported_dropped_ && owner_.has_room()) send_stats();
}

void Capture::close(const Outcome& why) {
  if (closing_) return;
  closing_ = true;
  why_ = why;
  if (fd_ < 0) {
    // Being opened: the end is sent now, and the handle closes when the work is done.
    finish(why_);
    return;
  }
  shut_ring(fd_);
  closing_since_ = empty_since_ = monotonic_ms();
  go_on_closing();
}

void Capture::go_on_closing() {
  if (!drain()) empty_since_ = monotonic_ms();
  count();
  const int64_t now = monotonic_ms();
  const bool balanced = seen_ == dropped_ + delivered_;
  const bool over = now - closing_since_ >= kDrainMs && (balanced || now - empty_since_ >= kQuietMs);
  if (over || now - closing_since_ >= kGiveUpMs) {
    send_stats();
    finish(why_);
    return;
  }
  timer_ = loop_.after(2, [this] { go_on_closing(); });
}

}  // namespace probe
