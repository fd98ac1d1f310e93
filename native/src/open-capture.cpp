#include "open-capture.h"

#include <linux/filter.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "ring-blocks.h"

namespace probe {
namespace {

// Long programs are refused by the kernel (net.core.optmem_max), and libpcap would then filter, uncounted, in user space.
constexpr unsigned kLongestProgram = 1000;

// libpcap hides the outgoing copies on lo from the reader, after the kernel has counted them and perhaps dropped others for their sake.
constexpr char kNoCopies[] = "not (outbound and ifindex 1)";

Outcome pcap_failure(const char* act, pcap_t* handle, EndCode code = EndCode::Failed) {
  const int error = code == EndCode::Failed ? errno : 0;
  return {code, error, std::string(act) + ": " + ::pcap_geterr(handle)};
}

void discard(u_char*, const pcap_pkthdr*, const u_char*) {}

// Empties the ring of frames that came before the filter was there. A block that is not full is handed over after the read timeout.
void settle(pcap_t* handle) {
  for (int waited = 0; waited <= 3 * kReadTimeoutMs; waited += 2) {
    ::pcap_dispatch(handle, -1, discard, nullptr);
    ::poll(nullptr, 0, 2);
  }
}

bool kernel_filters(int fd) {
  // With no room given, the kernel answers with the number of instructions.
  socklen_t instructions = 0;
  return ::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &instructions) == 0 && instructions > 0;
}

Outcome set_filter(pcap_t* handle, const std::string& wanted) {
  const std::string text = wanted.empty() ? kNoCopies : std::string(kNoCopies) + " and (" + wanted + ")";
  bpf_program program{};
  if (::pcap_compile(handle, &program, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) return pcap_failure("cannot compile the filter", handle, EndCode::Refused);
  Outcome outcome;
  if (program.bf_len > kLongestProgram) outcome = {EndCode::Refused, 0, "the filter compiles to " + std::to_string(program.bf_len) + " instructions, at most " + std::to_string(kLongestProgram) + " are wanted"};
  else if (::pcap_setfilter(handle, &program) != 0) outcome = pcap_failure("cannot set the filter", handle);
  ::pcap_freecode(&program);
  if (outcome.good() && !kernel_filters(::pcap_fileno(handle))) outcome = {EndCode::Refused, 0, "the kernel does not take the filter"};
  return outcome;
}

}  // namespace

bool shut_ring(int fd) {
  sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog program{1, nothing};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

Outcome open_capture(const CaptureRequest& request, OpenCapture& opened) {
  char reason[PCAP_ERRBUF_SIZE] = "";
  PcapHandle handle(::pcap_create("any", reason));
  if (handle == nullptr) return {EndCode::Failed, errno, std::string("cannot create a capture handle: ") + reason};
  ::pcap_set_snaplen(handle.get(), static_cast<int>(request.snap_length));
  ::pcap_set_timeout(handle.get(), kReadTimeoutMs);
  ::pcap_set_buffer_size(handle.get(), static_cast<int>(request.ring_bytes));
  ::pcap_set_tstamp_precision(handle.get(), PCAP_TSTAMP_PRECISION_NANO);
  const FittingBlocks blocks(request.ring_bytes);
  if (::pcap_activate(handle.get()) < 0) return pcap_failure("cannot capture", handle.get());

  const int fd = ::pcap_fileno(handle.get());
  if (!shut_ring(fd)) return Outcome::failed("cannot attach a filter");
  if (::pcap_set_datalink(handle.get(), DLT_LINUX_SLL2) != 0) return pcap_failure("cannot capture as LINUX_SLL2", handle.get());
  if (::pcap_setnonblock(handle.get(), 1, reason) != 0) return {EndCode::Failed, errno, std::string("cannot read without blocking: ") + reason};

  if (::pcap_stats(handle.get(), &opened.start) != 0) return pcap_failure("cannot read the counters", handle.get());
  if (opened.start.ps_recv != 0) settle(handle.get());
  if (::pcap_stats(handle.get(), &opened.start) != 0) return pcap_failure("cannot read the counters", handle.get());
  const Outcome filtered = set_filter(handle.get(), request.filter);
  if (filtered.good()) opened.handle = std::move(handle);
  return filtered;
}

}  // namespace probe
