// sidetrace-probe: reads packets, connection tracking, sockets and rules of network namespaces for a daemon that may not. docs/probe.md describes it.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "privileges.h"
#include "server.h"

namespace probe {
namespace {

constexpr int kTakeOverAttempts = 40;
constexpr useconds_t kTakeOverPauseUs = 50'000;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// A socket that nobody answers on any more is replaced; one that somebody serves, or anything else, is left alone.
bool leftover(const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(address.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const Descriptor attempt(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(attempt.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
}

Descriptor listen_on(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return {};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  // A probe that was killed goes on holding its socket until the kernel has taken down its rings.
  for (int attempt = 0; attempt < kTakeOverAttempts && ::access(address.sun_path, F_OK) == 0; attempt++) {
    if (leftover(address)) {
      ::unlink(address.sun_path);
      break;
    }
    ::usleep(kTakeOverPauseUs);
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Group: the folder's, where that has the set-group-id bit. Who connects is checked besides.
  ::umask(0117);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(socket.get(), 16) != 0) return {};
  return socket;
}

Descriptor take_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return Descriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

int fail(const char* act) {
  std::fprintf(stderr, "sidetrace-probe: %s: %s\n", act, std::strerror(errno));
  return kFailed;
}

int run(const Options& options) {
  ::clearenv();
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  Descriptor signals = take_signals();
  Descriptor listening;
  Descriptor inherited;
  if (options.inherited < 0) {
    listening = listen_on(options.socket);
    if (!listening.valid()) return fail(("cannot listen on \"" + options.socket + "\"").c_str());
  } else {
    inherited = Descriptor(options.inherited);
    if (::fcntl(inherited.get(), F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(inherited.get(), F_SETFL, O_NONBLOCK) != 0) return fail("cannot use the socket given by --fd");
  }
  if (!drop_privileges(options.roots.processes)) return fail("cannot drop privileges");
  if (!filter_system_calls()) return fail("cannot filter system calls");
  Server(options, std::move(listening), std::move(inherited), std::move(signals)).run();
  return 0;
}

}  // namespace
}  // namespace probe

int main(int count, char** arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--version") == 0) {
    std::printf("sidetrace-probe, protocol %u, %s\n", probe::kProtocolVersion, ::pcap_lib_version());
    return 0;
  }
  const std::optional<probe::Options> options = probe::read_options(count, arguments);
  if (!options.has_value()) return probe::kUsage;
  try {
    return probe::run(*options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sidetrace-probe: %s\n", error.what());
    return probe::kFailed;
  }
}
