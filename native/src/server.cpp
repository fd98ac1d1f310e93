#include "server.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cstdio>

namespace probe {
namespace {

constexpr size_t kLargestPeers = 16;
constexpr int kStopMs = 4500;
constexpr int kAcceptAgainMs = 100;

}  // namespace

Server::Server(const Options& options, Descriptor listening, Descriptor inherited, Descriptor signals)
    : options_(options),
      listening_(std::move(listening)),
      signals_(std::move(signals)),
      thread_(loop_),
      namespaces_(loop_, thread_, options.roots),
      service_{loop_, thread_, namespaces_, options, {options.ring_budget, 0}} {
  namespaces_.on_new = [this](const Namespace& found) {
    for (Peer& peer : peers_) peer.namespace_new(found);
  };
  namespaces_.on_gone = [this](uint64_t cookie) {
    for (Peer& peer : peers_) peer.namespace_gone(cookie);
  };
  loop_.watch(signals_.get(), EPOLLIN, [this](uint32_t) { signalled(); });
  if (listening_.valid()) loop_.watch(listening_.get(), EPOLLIN, [this](uint32_t) { accept(); });
  if (inherited.valid() && admitted(inherited.get())) peers_.emplace_back(service_, std::move(inherited));
  loop_.after(1000, [this] { second_passed(); });
}

// The peers' handles close here, before the thread and the loop that they use.
Server::~Server() { peers_.clear(); }

void Server::run() {
  while (!stop_now_) {
    loop_.turn();
    for (Peer& peer : peers_) peer.settle();
    peers_.remove_if([](const Peer& peer) { return peer.over(); });
    if (peers_.empty() && (stopping_ || !listening_.valid())) return;
  }
}

void Server::second_passed() {
  for (Peer& peer : peers_) peer.tick();
  loop_.after(1000, [this] { second_passed(); });
}

bool Server::admitted(int socket) const {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    std::perror("sidetrace-probe: cannot tell who connects");
    return false;
  }
  if (credentials.uid == ::geteuid() || options_.users.count(credentials.uid) != 0) return true;
  std::fprintf(stderr, "sidetrace-probe: refused process %d of user %u: not one of --peer-uid\n", static_cast<int>(credentials.pid), credentials.uid);
  return false;
}

void Server::accept() {
  Descriptor socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    // Out of descriptors: the connection stays in the queue, and would wake the loop for ever.
    loop_.change(listening_.get(), 0);
    loop_.after(kAcceptAgainMs, [this] {
      if (!stopping_) loop_.change(listening_.get(), EPOLLIN);
    });
    return;
  }
  if (stopping_ || !admitted(socket.get())) return;
  if (peers_.size() >= kLargestPeers) {
    std::fprintf(stderr, "sidetrace-probe: refused a peer: %zu are connected already\n", peers_.size());
    return;
  }
  peers_.emplace_back(service_, std::move(socket));
}

void Server::signalled() {
  signalfd_siginfo which{};
  if (::read(signals_.get(), &which, sizeof which) != sizeof which) return;
  if (stopping_) {
    stop_now_ = true;
    return;
  }
  stopping_ = true;
  if (listening_.valid()) loop_.change(listening_.get(), 0);
  for (Peer& peer : peers_) peer.shut_down();
  loop_.after(kStopMs, [this] { stop_now_ = true; });
}

}  // namespace probe
