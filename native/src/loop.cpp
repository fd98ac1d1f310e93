#include "loop.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>

namespace probe {

int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

bool Loop::control(int operation, int fd, const Watched& watched) {
  epoll_event event{};
  event.events = watched.events;
  event.data.u64 = static_cast<uint64_t>(watched.generation) << 32 | static_cast<uint32_t>(fd);
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

void Loop::watch(int fd, uint32_t events, Handler handler) {
  // The generation tells an event of a closed descriptor from one of its successor with the same number.
  const auto watched = std::make_shared<Watched>(Watched{++generation_, events, std::move(handler)});
  if (events != 0 && !control(EPOLL_CTL_ADD, fd, *watched)) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  watched_[fd] = watched;
}

void Loop::change(int fd, uint32_t events) {
  const auto found = watched_.find(fd);
  if (found == watched_.end() || found->second->events == events) return;
  const uint32_t before = std::exchange(found->second->events, events);
  control(before == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, *found->second);
}

void Loop::forget(int fd) {
  const auto found = watched_.find(fd);
  if (found == watched_.end()) return;
  if (found->second->events != 0) control(EPOLL_CTL_DEL, fd, *found->second);
  watched_.erase(found);
}

Loop::Timer Loop::after(int milliseconds, std::function<void()> act) {
  const Timer timer = ++timer_;
  const int64_t due = monotonic_ms() + milliseconds;
  timers_[{due, timer}] = std::move(act);
  due_[timer] = due;
  return timer;
}

void Loop::cancel(Timer timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase({found->second, timer});
  due_.erase(found);
}

void Loop::run_due_timers() {
  const int64_t now = monotonic_ms();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const auto act = std::move(timers_.begin()->second);
    due_.erase(timers_.begin()->first.second);
    timers_.erase(timers_.begin());
    act();
  }
}

void Loop::turn() {
  int wait = -1;
  if (!timers_.empty()) wait = static_cast<int>(std::clamp<int64_t>(timers_.begin()->first.first - monotonic_ms(), 0, 60000));
  epoll_event events[64];
  const int count = ::epoll_wait(epoll_.get(), events, 64, wait);
  if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "epoll_wait");
  for (int i = 0; i < count; i += 1) {
    const auto found = watched_.find(static_cast<int>(events[i].data.u64 & 0xffffffffu));
    if (found == watched_.end() || found->second->generation != events[i].data.u64 >> 32 || found->second->events == 0) continue;
    const std::shared_ptr<Watched> kept = found->second;
    kept->handler(events[i].events);
  }
  run_due_timers();
}

}  // namespace probe
