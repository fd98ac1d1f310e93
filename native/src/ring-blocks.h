// The size of the blocks of a capture ring, for which libpcap has no setting.
//
// libpcap makes them 256 KiB, so that a small ring is one block, and what arrives while that is being read is lost: 0.5 to 4 % of light traffic. Smaller blocks cost nothing but the
// longest frames: what does not fit into a block is cut, as by a snapshot length.
#pragma once

#include <cstdint>

namespace probe {

// While it lives, the rings that libpcap makes on this thread have blocks which fit their size.
class FittingBlocks {
 public:
  explicit FittingBlocks(uint32_t ring_bytes);
  ~FittingBlocks();
  FittingBlocks(const FittingBlocks&) = delete;
  FittingBlocks& operator=(const FittingBlocks&) = delete;
};

}  // namespace probe
