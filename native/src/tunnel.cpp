#include "tunnel.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace probe {
namespace {

constexpr int kConnectMs = 5000;
constexpr size_t kPiece = 64 * 1024;
constexpr size_t kLargestWaiting = 256 * 1024;

Outcome connect_to(uint16_t port, Descriptor& socket) {
  Descriptor opened(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!opened.valid()) return Outcome::failed("cannot open a socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(opened.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)
    return Outcome::failed("cannot connect to 127.0.0.1:" + std::to_string(port));
  socket = std::move(opened);
  return {};
}

}  // namespace

Tunnel::~Tunnel() {
  loop_.cancel(limit_);
  if (watched_) loop_.forget(socket_->get());
}

void Tunnel::start() {
  if (allowed_.count(port_) == 0) return finish({EndCode::Refused, 0, "port " + std::to_string(port_) + " is not one of those that tunnels may go to"});
  limit_ = loop_.after(kConnectMs, [this] { finish({EndCode::TimedOut, 0, "127.0.0.1:" + std::to_string(port_) + " did not answer within 5 s"}); });
  inside(
      namespaces_, [socket = socket_, port = port_] { return connect_to(port, *socket); }, &Tunnel::opened);
}

void Tunnel::opened(const Outcome& outcome) {
  if (!outcome.good()) return finish(outcome);
  paused_ = !owner_.has_room();
  watched_ = true;
  loop_.watch(socket_->get(), EPOLLOUT, [this](uint32_t events) { ready(events); });
}

void Tunnel::want() {
  loop_.change(socket_->get(), (paused_ || window_ == 0 ? 0u : EPOLLIN) | (waiting_.empty() ? 0u : EPOLLOUT));
}

void Tunnel::pause(bool paused) {
  paused_ = paused;
  if (watched_ && connected_) want();
}

void Tunnel::connected() {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket_->get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    errno = error;
    return finish(Outcome::failed("cannot connect to 127.0.0.1:" + std::to_string(port_)));
  }
  loop_.cancel(limit_);
  connected_ = true;
  send_opened();
  want();
}

void Tunnel::ready(uint32_t events) {
  if (over()) return;
  if (!connected_) return connected();
  if (!waiting_.empty() && (events & EPOLLOUT) != 0 && !write()) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !read()) return;
  want();
}

bool Tunnel::write() {
  const ssize_t taken = ::send(socket_->get(), waiting_.data(), waiting_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (taken < 0 && errno != EAGAIN && errno != EINTR) {
    finish(Outcome::failed("cannot write to 127.0.0.1:" + std::to_string(port_)));
    return false;
  }
  if (taken > 0) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + taken);
    Outbox& out = owner_.outbox();
    out.begin(Reply::Credit, id_);
    out.u32(static_cast<uint32_t>(taken));
    out.end();
  }
  return true;
}

bool Tunnel::read() {
  if (!owner_.has_room() || window_ == 0) return true;
  char piece[kPiece];
  const ssize_t length = ::recv(socket_->get(), piece, std::min<uint64_t>(sizeof piece, window_), MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (length < 0) {
    finish(Outcome::failed("cannot read from 127.0.0.1:" + std::to_string(port_)));
    return false;
  }
  if (length == 0) {
    finish({});
    return false;
  }
  Outbox& out = owner_.outbox();
  out.begin(Reply::Data, id_);
  out.bytes(piece, static_cast<size_t>(length));
  out.end();
  window_ -= static_cast<uint64_t>(length);
  return true;
}

void Tunnel::credit(uint32_t taken) {
  // More than was sent is nonsense, and gives nothing.
  window_ = std::min<uint64_t>(window_ + taken, kTunnelWindow);
  if (connected_) want();
}

void Tunnel::data(std::string_view bytes) {
  if (waiting_.size() + bytes.size() > kLargestWaiting) {
    finish({EndCode::TooLarge, 0, "more than 256 KiB wait for 127.0.0.1:" + std::to_string(port_)});
    return;
  }
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
  if (connected_ && write()) want();
}

}  // namespace probe
