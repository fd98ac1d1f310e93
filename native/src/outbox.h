// What waits to be sent to one peer: messages are written in place, and leave in order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol.h"

namespace probe {

class Outbox {
 public:
  // Between begin() and end() the bytes of one message are appended.
  void begin(Reply type, uint32_t id);
  void u8(uint8_t value) { number(value); }
  void u16(uint16_t value) { number(value); }
  void u32(uint32_t value) { number(value); }
  void u64(uint64_t value) { number(value); }
  void bytes(const void* data, size_t length);
  // u16 length, then the bytes; longer text is cut.
  void text(std::string_view value);
  void end();
  // Length of the message since begin(), its header included.
  size_t message_bytes() const { return buffer_.size() - message_; }

  // Bytes that were not sent yet.
  size_t pending() const { return buffer_.size() - sent_; }
  // Sends what the socket takes now. False: the peer is gone.
  bool flush(int socket);

 private:
  template <typename Number>
  void number(Number value) {
    bytes(&value, sizeof value);
  }

  std::vector<char> buffer_;
  size_t sent_ = 0;
  size_t message_ = 0;
};

}  // namespace probe
