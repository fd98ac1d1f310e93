#include "namespace-thread.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace probe {

uint64_t current_namespace_cookie() {
  const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  if (!socket.valid() || ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) return 0;
  return cookie;
}

NamespaceThread::NamespaceThread(Loop& loop)
    : loop_(loop),
      home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      home_cookie_(current_namespace_cookie()) {
  if (!home_.valid() || !wake_.valid()) throw std::system_error(errno, std::generic_category(), "cannot keep the own network namespace");
  if (home_cookie_ == 0) throw std::runtime_error("cannot tell network namespaces apart: SO_NETNS_COOKIE (Linux 5.14) is needed, this kernel has none");
  loop_.watch(wake_.get(), EPOLLIN, [this](uint32_t) { collect(); });
  thread_ = std::thread([this] { run(); });
}

NamespaceThread::~NamespaceThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  posted_.notify_one();
  thread_.join();
  for (const auto& work : idle_) work();
  loop_.forget(wake_.get());
}

void NamespaceThread::post(std::function<void()> work, std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(work), std::move(done)});
  }
  posted_.notify_one();
}

void NamespaceThread::post_idle(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(work));
  }
  posted_.notify_one();
}

void NamespaceThread::run() {
  for (;;) {
    Job job;
    std::function<void()> idle;
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return stop_ || !waiting_.empty() || !idle_.empty(); });
      if (stop_) return;
      if (waiting_.empty()) {
        idle = std::move(idle_.front());
        idle_.pop_front();
      }
    }
    if (idle) {
      idle();
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      job = std::move(waiting_.front());
      waiting_.pop_front();
    }
    job.work();
    {
      const std::lock_guard lock(mutex_);
      finished_.push_back(std::move(job.done));
    }
    const uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) < 0) continue;  // full: the loop is about to look anyway
  }
}

void NamespaceThread::collect() {
  uint64_t count = 0;
  if (::read(wake_.get(), &count, sizeof count) < 0) return;
  std::deque<std::function<void()>> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (const auto& done : finished) done();
}

Outcome NamespaceThread::enter(const std::string& path, uint64_t cookie) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  // EACCES: the ordinary file, of mode 0, that a namespace was bound on and is not any more.
  if (!file.valid() && (errno == ENOENT || errno == EACCES)) return {EndCode::Gone, errno, "\"" + path + "\" is not there any more"};
  if (!file.valid()) return Outcome::failed("cannot open \"" + path + "\"");
  struct statfs system {};
  if (::fstatfs(file.get(), &system) != 0 || system.f_type != NSFS_MAGIC || ::ioctl(file.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return {EndCode::Gone, EINVAL, "\"" + path + "\" is no network namespace"};
  if (::setns(file.get(), CLONE_NEWNET) != 0) return Outcome::failed("cannot enter \"" + path + "\"");
  if (cookie != 0 && current_namespace_cookie() != cookie) {
    leave();
    return {EndCode::Gone, 0, "\"" + path + "\" is another namespace by now"};
  }
  return {};
}

void NamespaceThread::leave() {
  if (::setns(home_.get(), CLONE_NEWNET) == 0) return;
  std::perror("sidetrace-probe: cannot return to the own network namespace");
  std::abort();
}

}  // namespace probe
