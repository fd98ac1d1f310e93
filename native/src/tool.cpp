#include "tool.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

namespace probe {
namespace {

constexpr int kLimitMs = 10000;
constexpr size_t kLargestOutput = 64 * 1024 * 1024;
constexpr size_t kPiece = 64 * 1024;

struct Program {
  const char* path;
  const char* arguments[5];
  const char* tables;  // a legacy program runs only where the namespace has legacy tables
};

// In the order of ToolKind. iptables-nft-save and not iptables-save: which of the two that is depends on the machine.
const Program kPrograms[kTools] = {
    {"/usr/sbin/iptables-nft-save", {"iptables-nft-save", "-c"}, nullptr},
    {"/usr/sbin/ip6tables-nft-save", {"ip6tables-nft-save", "-c"}, nullptr},
    {"/usr/sbin/iptables-legacy-save", {"iptables-legacy-save", "-c"}, "/proc/thread-self/net/ip_tables_names"},
    {"/usr/sbin/ip6tables-legacy-save", {"ip6tables-legacy-save", "-c"}, "/proc/thread-self/net/ip6_tables_names"},
    {"/usr/sbin/nft", {"nft", "-j", "list", "ruleset"}, nullptr},
    {"/usr/sbin/ip", {"ip", "rule", "show"}, nullptr},
    {"/usr/sbin/ip", {"ip", "-6", "rule", "show"}, nullptr},
};

const Program& program(ToolKind kind) { return kPrograms[static_cast<uint8_t>(kind) - 1]; }

// Asking the legacy program about a table creates the table: it may ask only where there is one.
bool lists_a_table(const char* path) {
  const Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  char first = 0;
  return file.valid() && ::read(file.get(), &first, 1) == 1;
}

bool make_pipe(Descriptor& reading, Descriptor& writing) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  reading = Descriptor(ends[0]);
  writing = Descriptor(ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return true;
}

// On the namespace thread, inside the namespace: the program inherits it.
Outcome run(const Program& wanted, Tool::Running& running) {
  if (wanted.tables != nullptr && !lists_a_table(wanted.tables)) return {};
  Descriptor output;
  Descriptor errors;
  if (!make_pipe(running.output, output) || !make_pipe(running.errors, errors)) return Outcome::failed("cannot make a pipe");

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output.get(), 1);
  ::posix_spawn_file_actions_adddup2(&files, errors.get(), 2);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  char locale[] = "LC_ALL=C";
  char* const environment[] = {locale, nullptr};
  char* const* arguments = const_cast<char* const*>(wanted.arguments);
  const int error = ::posix_spawn(&running.process, wanted.path, &files, &attributes, arguments, environment);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    running.process = -1;
    return {EndCode::Failed, error, std::string("cannot run \"") + wanted.path + "\": " + std::strerror(error)};
  }
  running.ended = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, running.process, 0)));
  return running.ended.valid() ? Outcome{} : Outcome::failed("cannot wait for a program");
}

}  // namespace

uint32_t installed_tools() {
  uint32_t bits = 0;
  for (uint8_t i = 0; i < kTools; i += 1)
    if (::access(kPrograms[i].path, X_OK) == 0) bits |= 1u << i;
  return bits;
}

Tool::Running::~Running() {
  if (process < 0) return;
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
}

Tool::~Tool() {
  loop_.cancel(limit_);
  if (watching_end_) loop_.forget(running_->ended.get());
  if (watching_end_ && running_->output.valid()) loop_.forget(running_->output.get());
  if (watching_end_ && running_->errors.valid()) loop_.forget(running_->errors.get());
}

void Tool::start() {
  limit_ = loop_.after(kLimitMs, [this] { finish({EndCode::TimedOut, 0, std::string("\"") + program(kind_).path + "\" took longer than 10 s"}); });
  inside(
      namespaces_, [running = running_, kind = kind_] { return run(program(kind), *running); }, &Tool::opened);
}

void Tool::opened(const Outcome& outcome) {
  if (!outcome.good()) return finish(outcome);
  if (running_->process < 0) return finish({EndCode::Done, 0, "the namespace has no legacy table"});
  watching_end_ = true;
  watch(running_->output, 1);
  watch(running_->errors, 2);
  loop_.watch(running_->ended.get(), EPOLLIN, [this](uint32_t) { finish_when_over(); });
}

void Tool::watch(Descriptor& pipe, uint8_t channel) {
  loop_.watch(pipe.get(), owner_.has_room() ? EPOLLIN : 0u, [this, &pipe, channel](uint32_t) { pass_on(pipe, channel); });
}

void Tool::pause(bool paused) {
  if (!watching_end_) return;
  for (const Descriptor* pipe : {&running_->output, &running_->errors})
    if (pipe->valid()) loop_.change(pipe->get(), paused ? 0u : EPOLLIN);
}

void Tool::pass_on(Descriptor& pipe, uint8_t channel) {
  char piece[kPiece];
  while (!over() && owner_.has_room()) {
    const ssize_t length = ::read(pipe.get(), piece, sizeof piece);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
      loop_.forget(pipe.get());
      pipe.reset();
      return finish_when_over();
    }
    passed_ += static_cast<size_t>(length);
    if (passed_ > kLargestOutput) return finish({EndCode::TooLarge, 0, std::string("\"") + program(kind_).path + "\" printed more than 64 MiB"});
    Outbox& out = owner_.outbox();
    out.begin(Reply::Output, id_);
    out.u8(channel);
    out.bytes(piece, static_cast<size_t>(length));
    out.end();
  }
}

void Tool::finish_when_over() {
  if (running_->process >= 0) {
    int status = 0;
    if (::waitpid(running_->process, &status, WNOHANG) != running_->process) return;
    running_->process = -1;
    loop_.change(running_->ended.get(), 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      const std::string how = WIFEXITED(status) ? "exit code " + std::to_string(WEXITSTATUS(status)) : "signal " + std::to_string(WTERMSIG(status));
      failure_ = {EndCode::Failed, 0, std::string("\"") + program(kind_).path + "\" ended with " + how};
    }
  }
  if (!running_->output.valid() && !running_->errors.valid()) finish(failure_);
}

}  // namespace probe
