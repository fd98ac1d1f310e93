// Which network namespaces there are: those bound in /run/netns and, where it holds none or the command line asks for it, those of processes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "namespace-thread.h"

namespace probe {

struct Namespace {
  uint64_t cookie = 0;
  uint64_t inode = 0;   // for people to compare with `lsns`; the kernel reuses it at once
  uint32_t process = 0;  // 0: found in the folder, else the process that it was found by
  std::string name;     // name in the folder, else the process id
  std::string path;
};

struct NamespaceRoots {
  std::string folder = "/run/netns";
  bool processes = false;
};

class Namespaces {
 public:
  Namespaces(Loop& loop, NamespaceThread& thread, NamespaceRoots roots);
  ~Namespaces();
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;

  const std::map<uint64_t, Namespace>& known() const { return known_; }
  // Looks again; `then` is called after a look that began after this call.
  void refresh(std::function<void()> then);
  // Runs `inside` in the namespace, on the namespace thread, then `done` in the loop with what it gave, or with why the namespace could not be entered.
  void enter(uint64_t cookie, std::function<Outcome()> inside, std::function<void(const Outcome&)> done);

  // Runs what takes time and needs no namespace, on the namespace thread, when that has nothing else to do.
  void aside(std::function<void()> work) { thread_.post_idle(std::move(work)); }

  std::function<void(const Namespace&)> on_new = [](const Namespace&) {};
  std::function<void(uint64_t cookie)> on_gone = [](uint64_t) {};

 private:
  struct Look {
    std::map<uint64_t, Namespace> found;
    bool unfinished = false;  // a file that is about to become a namespace
  };
  // On the namespace thread.
  void look_into_folder(Look& look);
  void look_at_processes(Look& look);
  void add(Look& look, const std::string& path, const std::string& name, uint32_t process);

  void begin();
  void apply(Look look);
  void watch_folder();
  void folder_changed();

  Loop& loop_;
  NamespaceThread& thread_;
  const NamespaceRoots roots_;
  Descriptor inotify_;
  int folder_watch_ = -1;
  bool looking_ = false;
  bool again_ = false;
  Loop::Timer next_ = 0;
  std::map<uint64_t, Namespace> known_;
  std::vector<std::function<void()>> waiting_;  // for the look that runs
  std::vector<std::function<void()>> later_;    // for the one after it
};

}  // namespace probe
