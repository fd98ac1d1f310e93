// Opens a libpcap handle on the `any` device of the namespace that the calling thread is in.
#pragma once

#include "capture.h"

namespace probe {

// The kernel gathers frames for this long before it wakes the reader.
constexpr int kReadTimeoutMs = 10;

// On success the ring is empty, nothing but frames that pass the filter has entered it, and `start` holds the counters as of then.
Outcome open_capture(const CaptureRequest& request, OpenCapture& opened);

// From now on no frame enters the ring: what it holds is finite, and the counters stand still.
bool shut_ring(int fd);

}  // namespace probe
