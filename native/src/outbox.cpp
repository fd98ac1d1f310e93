#include "outbox.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace probe {
namespace {

constexpr size_t kKeptBytes = 2 * 1024 * 1024;

}  // namespace

Outcome Outcome::failed(std::string act) {
  const int error = errno;
  return {EndCode::Failed, error, std::move(act) + ": " + std::strerror(error)};
}

void Outbox::begin(Reply type, uint32_t id) {
  message_ = buffer_.size();
  u32(0);
  u16(static_cast<uint16_t>(type));
  u16(0);
  u32(id);
}

void Outbox::bytes(const void* data, size_t length) {
  const char* first = static_cast<const char*>(data);
  buffer_.insert(buffer_.end(), first, first + length);
}

void Outbox::text(std::string_view value) {
  const std::string_view cut = value.substr(0, 1024);
  u16(static_cast<uint16_t>(cut.size()));
  bytes(cut.data(), cut.size());
}

void Outbox::end() {
  const uint32_t payload = static_cast<uint32_t>(message_bytes() - kHeaderBytes);
  std::memcpy(buffer_.data() + message_, &payload, sizeof payload);
}

bool Outbox::flush(int socket) {
  while (sent_ < buffer_.size()) {
    const ssize_t taken = ::send(socket, buffer_.data() + sent_, std::min<size_t>(buffer_.size() - sent_, 262144), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      break;
    }
    sent_ += static_cast<size_t>(taken);
  }
  // Moving the rest costs at most as much as sending what went before it.
  if (sent_ == buffer_.size() || sent_ > buffer_.size() / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
    // What one slow moment took is given back.
    if (buffer_.empty() && buffer_.capacity() > kKeptBytes) std::vector<char>().swap(buffer_);
  }
  return true;
}

}  // namespace probe
