#include "ring-blocks.h"

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace probe {
namespace {

constexpr uint32_t kKiB = 1024;

// Bytes of a block, and of the ring; 0: libpcap's own.
thread_local uint32_t wanted_block = 0;
thread_local uint32_t wanted_ring = 0;

}  // namespace

FittingBlocks::FittingBlocks(uint32_t ring_bytes) {
  wanted_ring = ring_bytes;
  wanted_block = ring_bytes < 1024 * kKiB ? 64 * kKiB : ring_bytes < 4096 * kKiB ? 128 * kKiB : 0;
}

FittingBlocks::~FittingBlocks() { wanted_block = 0; }

}  // namespace probe

// In the place of the C library's, which does the same: libpcap's request for a ring passes through here. It reads the sizes back from the request afterwards, as the kernel may have been given
// fewer blocks than it first asked for.
extern "C" int setsockopt(int socket, int level, int name, const void* value, socklen_t length) noexcept {
  if (probe::wanted_block != 0 && level == SOL_PACKET && name == PACKET_RX_RING && length == sizeof(tpacket_req3)) {
    auto& request = *static_cast<tpacket_req3*>(const_cast<void*>(value));
    // Only what is known to be a ring of whole frames that are blocks; on a second attempt it is smaller already.
    if (request.tp_block_nr > 0 && request.tp_frame_size == request.tp_block_size && request.tp_block_size > probe::wanted_block) {
      request.tp_block_size = request.tp_frame_size = probe::wanted_block;
      request.tp_block_nr = request.tp_frame_nr = probe::wanted_ring / probe::wanted_block;
    }
  }
  return static_cast<int>(::syscall(SYS_setsockopt, socket, level, name, value, length));
}
