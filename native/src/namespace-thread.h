// The one thread that changes its network namespace. Everything which must happen inside a pod's namespace is a short piece of work for it:
// opening a socket or a capture handle (which then stays in that namespace, whoever reads it), or starting a tool.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "descriptor.h"
#include "loop.h"
#include "protocol.h"

namespace probe {

class NamespaceThread {
 public:
  explicit NamespaceThread(Loop& loop);
  ~NamespaceThread();
  NamespaceThread(const NamespaceThread&) = delete;
  NamespaceThread& operator=(const NamespaceThread&) = delete;

  // `work` runs on the thread, then `done` in the loop. In the order of posting.
  void post(std::function<void()> work, std::function<void()> done);

  // `work` runs on the thread when nothing else is to be done. At the latest when the probe ends.
  void post_idle(std::function<void()> work);

  // The namespace that the probe was started in.
  uint64_t home_cookie() const { return home_cookie_; }

  // The following are called by work, on the thread itself.

  // Goes into the namespace at `path`; `cookie` 0: whichever it is. Home again by leave().
  Outcome enter(const std::string& path, uint64_t cookie);
  // A thread that cannot get home would act in a pod's network: the process ends instead.
  void leave();

 private:
  struct Job {
    std::function<void()> work;
    std::function<void()> done;
  };
  void run();
  void collect();

  Loop& loop_;
  Descriptor home_;
  Descriptor wake_;
  uint64_t home_cookie_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Job> waiting_;
  std::deque<std::function<void()>> idle_;
  std::deque<std::function<void()>> finished_;
  bool stop_ = false;
  std::thread thread_;
};

// SO_NETNS_COOKIE of the calling thread's namespace: unique until the machine restarts, unlike the inode. 0: this kernel has none (before 5.14).
uint64_t current_namespace_cookie();

}  // namespace probe
