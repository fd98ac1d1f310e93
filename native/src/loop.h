// The one thread that waits: file descriptors, timers, nothing else.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "descriptor.h"

namespace probe {

// CLOCK_MONOTONIC in milliseconds.
int64_t monotonic_ms();

class Loop {
 public:
  using Handler = std::function<void(uint32_t events)>;
  using Timer = uint64_t;

  Loop();
  // The descriptor stays its owner's, who forgets it before closing it. Events 0: not even errors and hang-ups are reported.
  void watch(int fd, uint32_t events, Handler handler);
  void change(int fd, uint32_t events);
  void forget(int fd);

  Timer after(int milliseconds, std::function<void()> act);
  void cancel(Timer timer);

  // Waits once, for events or for the next timer, and handles what came.
  void turn();

 private:
  struct Watched {
    uint32_t generation;
    uint32_t events;
    Handler handler;
  };
  bool control(int operation, int fd, const Watched& watched);
  void run_due_timers();

  Descriptor epoll_;
  uint32_t generation_ = 0;
  Timer timer_ = 0;
  std::unordered_map<int, std::shared_ptr<Watched>> watched_;
  std::map<std::pair<int64_t, Timer>, std::function<void()>> timers_;
  std::unordered_map<Timer, int64_t> due_;
};

}  // namespace probe
