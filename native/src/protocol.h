// The messages between the probe and its peers: docs/probe.md describes them byte by byte. All numbers are little-endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace probe {

constexpr uint16_t kProtocolVersion = 1;
constexpr char kMagic[8] = {'s', 't', 'p', 'r', 'o', 'b', 'e', '\0'};
constexpr size_t kHeaderBytes = 12;       // u32 payload length, u16 type, u16 zero, u32 id
constexpr size_t kLargestRequest = 8192;  // payload of a message from a peer

enum class Request : uint16_t {
  Hello = 1,
  List = 2,
  Watch = 3,
  Capture = 4,
  Stats = 5,
  Events = 6,
  Dump = 7,
  Tool = 8,
  Tunnel = 9,
  Data = 10,
  Close = 11,
  Credit = 12,
};

enum class Reply : uint16_t {
  Hello = 0x81,
  Namespace = 0x82,
  Gone = 0x83,
  Ready = 0x84,
  Opened = 0x85,
  Frames = 0x86,
  Stats = 0x87,
  Netlink = 0x88,
  Lost = 0x89,
  Output = 0x8a,
  Data = 0x8b,
  End = 0x8c,
  Bye = 0x8d,
  Credit = 0x8e,
};

enum class EndCode : uint16_t {
  Done = 0,      // all of it was sent
  Closed = 1,    // the peer asked for it
  Gone = 2,      // the namespace is not there any more
  Shutdown = 3,  // the probe is about to exit
  Refused = 4,   // the request cannot be granted as it was made
  Failed = 5,    // the system said no
  TimedOut = 6,
  TooLarge = 7,
};

// How a request ended, or why it could not begin.
struct Outcome {
  EndCode code = EndCode::Done;
  int error = 0;  // errno, 0 where there is none
  std::string text;

  bool good() const { return code == EndCode::Done; }
  // The system call or library that said no, with errno as it stands now.
  static Outcome failed(std::string act);
};

// Takes numbers off a payload. Reading past the end gives zeros and makes finished() false for good.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  std::string_view take(size_t length) {
    if (length > rest_.size()) {
      short_ = true;
      return {};
    }
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }
  // Everything was there, and nothing is left over.
  bool finished() const { return !short_ && rest_.empty(); }

 private:
  template <typename Number>
  Number number() {
    const std::string_view bytes = take(sizeof(Number));
    Number value = 0;
    if (bytes.size() == sizeof(Number)) std::memcpy(&value, bytes.data(), sizeof(Number));
    return value;
  }

  std::string_view rest_;
  bool short_ = false;
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the protocol is little-endian, and so must be the machine");

}  // namespace probe
