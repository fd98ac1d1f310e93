#include "peer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "namespace-list.h"
#include "netlink.h"
#include "privileges.h"
#include "tool.h"
#include "tunnel.h"

namespace probe {
namespace {

constexpr int kHelloMs = 5000;
constexpr size_t kCongested = 16 * 1024 * 1024;    // bytes that wait: streams leave their input in the kernel
constexpr size_t kFreeAgain = 4 * 1024 * 1024;
constexpr size_t kLargestOutbox = 64 * 1024 * 1024;  // what a peer that does not read may cost
constexpr size_t kLargestStreams = 4096;
constexpr int kLargestCostly = 64;
constexpr size_t kReadPiece = 64 * 1024;
constexpr int kSendBuffer = 4 * 1024 * 1024;

}  // namespace

Peer::Peer(Service& service, Descriptor socket) : service_(service), socket_(std::move(socket)) {
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
  service_.loop.watch(socket_.get(), EPOLLIN, [this](uint32_t events) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable();
  });
  hello_limit_ = service_.loop.after(kHelloMs, [this] { cut_off("HELLO was not sent within 5 s"); });
}

Peer::~Peer() {
  service_.loop.cancel(hello_limit_);
  service_.loop.forget(socket_.get());
}

bool Peer::has_room() const { return outbox_.pending() < kCongested; }

void Peer::release(uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->ended_ = true;
  released_.push_back(std::move(found->second));
  streams_.erase(found);
}

// A copy: what is done to a stream may take it, or others, out of the list.
std::vector<std::shared_ptr<Stream>> Peer::streams_now() const {
  std::vector<std::shared_ptr<Stream>> streams;
  streams.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) streams.push_back(stream);
  return streams;
}

void Peer::settle() {
  if (over_) return;
  released_.clear();
  if (shutting_down_ && streams_.empty() && !said_bye_) say_bye("the probe is about to exit");
  if (!outbox_.flush(socket_.get()) || (said_bye_ && outbox_.pending() == 0)) {
    over_ = true;
    return;
  }
  if (outbox_.pending() > kLargestOutbox) {
    over_ = true;
    return;
  }
  const bool congested = outbox_.pending() >= (congested_ ? kFreeAgain : kCongested);
  if (congested != congested_) {
    congested_ = congested;
    for (const auto& stream : streams_now()) stream->pause(congested);
  }
  service_.loop.change(socket_.get(), (congested_ || leaving_ ? 0u : EPOLLIN) | (outbox_.pending() > 0 ? EPOLLOUT : 0u));
}

void Peer::tick() {
  for (const auto& stream : streams_now()) stream->tick();
}

void Peer::namespace_new(const Namespace& found) {
  for (const auto& stream : streams_now()) stream->namespace_new(found);
}

void Peer::namespace_gone(uint64_t cookie) {
  for (const auto& stream : streams_now()) {
    stream->namespace_gone(cookie);
    if (stream->cookie() == cookie) stream->close({EndCode::Gone, 0, "the namespace is not there any more"});
  }
}

void Peer::shut_down() {
  if (shutting_down_ || said_bye_) return;
  leaving_ = shutting_down_ = true;
  for (const auto& stream : streams_now()) stream->close({EndCode::Shutdown, 0, "the probe is about to exit"});
}

bool Peer::cut_off(std::string_view because) {
  leaving_ = true;
  for (const auto& [id, stream] : streams_) stream->ended_ = true;
  for (auto& [id, stream] : streams_) released_.push_back(std::move(stream));
  streams_.clear();
  say_bye(because);
  // One attempt: whoever sends nonsense is not waited for.
  outbox_.flush(socket_.get());
  over_ = true;
  return false;
}

void Peer::say_bye(std::string_view because) {
  said_bye_ = true;
  outbox_.begin(Reply::Bye, 0);
  outbox_.text(because);
  outbox_.end();
}

void Peer::readable() {
  if (leaving_ || over_) return;
  char piece[kReadPiece];
  const ssize_t length = ::recv(socket_.get(), piece, sizeof piece, MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) {
    over_ = true;
    return;
  }
  inbox_.append(piece, static_cast<size_t>(length));
  size_t at = 0;
  while (!leaving_ && inbox_.size() - at >= kHeaderBytes) {
    Reader header(std::string_view(inbox_).substr(at, kHeaderBytes));
    const uint32_t payload = header.u32();
    const uint16_t type = header.u16();
    const uint16_t zero = header.u16();
    const uint32_t id = header.u32();
    if (payload > kLargestRequest || zero != 0) {
      cut_off("the header of a message makes no sense");
      return;
    }
    if (inbox_.size() - at - kHeaderBytes < payload) break;
    if (!handle(type, id, std::string_view(inbox_).substr(at + kHeaderBytes, payload))) return;
    at += kHeaderBytes + payload;
  }
  inbox_.erase(0, at);
}

bool Peer::handle(uint16_t type, uint32_t id, std::string_view bytes) {
  Reader payload(bytes);
  const auto request = static_cast<Request>(type);
  if (request == Request::Hello || !greeted_) return request == Request::Hello && handle_hello(payload, id) ? true : over_ ? false : cut_off("HELLO, once, is the first message");
  const auto found = streams_.find(id);
  // A stream may have ended while these were on their way: they are then for nobody.
  const std::shared_ptr<Stream> stream = found == streams_.end() ? nullptr : found->second;
  switch (request) {
    case Request::Data:
      if (stream != nullptr) stream->data(bytes);
      return true;
    case Request::Credit: {
      const uint32_t taken = payload.u32();
      if (!payload.finished()) return cut_off("CREDIT is a number of bytes");
      if (stream != nullptr) stream->credit(taken);
      return true;
    }
    case Request::Close:
      if (!payload.finished()) return cut_off("CLOSE has no payload");
      if (stream != nullptr) stream->close({EndCode::Closed, 0, ""});
      return true;
    case Request::Stats:
      if (!payload.finished()) return cut_off("STATS has no payload");
      if (stream != nullptr) stream->send_stats();
      return true;
    default:
      break;
  }
  if (id == 0 || stream != nullptr) return cut_off("a request needs an id of its own, other than 0");
  const std::shared_ptr<Stream> made = make_stream(request, id, payload);
  if (made == nullptr) return cut_off("a message makes no sense");
  begin(id, made);
  return true;
}

bool Peer::handle_hello(Reader& payload, uint32_t id) {
  const std::string_view magic = payload.take(sizeof kMagic);
  const uint16_t version = payload.u16();
  if (greeted_ || id != 0 || !payload.finished() || magic != std::string_view(kMagic, sizeof kMagic)) return false;
  if (version != kProtocolVersion) return cut_off("protocol version " + std::to_string(version) + " is wanted, this is version " + std::to_string(kProtocolVersion));
  greeted_ = true;
  service_.loop.cancel(hello_limit_);
  outbox_.begin(Reply::Hello, 0);
  outbox_.u16(kProtocolVersion);
  outbox_.u64(service_.thread.home_cookie());
  outbox_.u64(effective_capabilities());
  outbox_.u32(installed_tools());
  outbox_.u64(service_.options.ring_budget);
  outbox_.text(::pcap_lib_version());
  outbox_.end();
  return true;
}

std::shared_ptr<Stream> Peer::make_stream(Request type, uint32_t id, Reader& payload) {
  Loop& loop = service_.loop;
  Namespaces& namespaces = service_.namespaces;
  if (type == Request::List || type == Request::Watch) return payload.finished() ? std::make_shared<NamespaceList>(*this, id, namespaces, type == Request::Watch) : nullptr;
  if (type == Request::Capture) return make_capture(id, payload);

  const uint64_t cookie = payload.u64();
  switch (type) {
    case Request::Events: {
      const uint32_t receive_buffer = payload.u32();
      const uint8_t kind = payload.u8();
      if (!payload.finished() || !is_event_kind(kind) || receive_buffer < kLeastReceiveBuffer || receive_buffer > kLargestReceiveBuffer) return nullptr;
      return std::make_shared<NetlinkEvents>(*this, id, cookie, loop, namespaces, static_cast<EventKind>(kind), receive_buffer);
    }
    case Request::Dump: {
      const uint8_t kind = payload.u8();
      const uint8_t family = payload.u8();
      const uint8_t protocol = payload.u8();
      if (!payload.finished() || !is_dump_kind(kind)) return nullptr;
      return std::make_shared<NetlinkDump>(*this, id, cookie, loop, namespaces, static_cast<DumpKind>(kind), family, protocol);
    }
    case Request::Tool: {
      const uint8_t kind = payload.u8();
      if (!payload.finished() || kind < 1 || kind > kTools) return nullptr;
      return std::make_shared<Tool>(*this, id, cookie, loop, namespaces, static_cast<ToolKind>(kind));
    }
    case Request::Tunnel: {
      const uint16_t port = payload.u16();
      if (!payload.finished()) return nullptr;
      return std::make_shared<Tunnel>(*this, id, cookie, loop, namespaces, service_.options.tunnel_ports, port);
    }
    default:
      return nullptr;
  }
}

std::shared_ptr<Stream> Peer::make_capture(uint32_t id, Reader& payload) {
  const uint64_t cookie = payload.u64();
  CaptureRequest request;
  request.snap_length = payload.u32();
  request.ring_bytes = payload.u32();
  request.filter = std::string(payload.take(payload.u16()));
  if (!payload.finished() || request.snap_length < kLeastSnapLength || request.snap_length > kLargestSnapLength) return nullptr;
  if (request.ring_bytes < kLeastRing || request.ring_bytes > kLargestRing || request.filter.size() > kLongestFilter) return nullptr;
  if (!std::all_of(request.filter.begin(), request.filter.end(), [](char c) { return c >= ' ' && c <= '~'; })) return nullptr;
  return std::make_shared<Capture>(*this, id, cookie, service_.loop, service_.namespaces, service_.rings, std::move(request));
}

void Peer::begin(uint32_t id, const std::shared_ptr<Stream>& stream) {
  const auto costly = std::count_if(streams_.begin(), streams_.end(), [](const auto& entry) { return entry.second->costly(); });
  const bool too_many = streams_.size() >= kLargestStreams || (stream->costly() && costly >= kLargestCostly);
  streams_[id] = stream;
  if (too_many) stream->finish({EndCode::Refused, 0, "too many requests are being answered: at most 4096, and 64 tools and tunnels, are wanted"});
  else stream->start();
}

}  // namespace probe
