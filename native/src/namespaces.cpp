#include "namespaces.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>
#include <set>

namespace probe {
namespace {

constexpr int kLookEveryMs = 1000;       // processes give no notice; for the folder this is a second line of defence
constexpr int kUnfinishedAgainMs = 5;    // `ip netns add` and the runtimes make a file first and bind the namespace on it later
constexpr int kUnfinishedSeconds = 5;    // an older ordinary file is nobody's beginning
constexpr size_t kLargestLook = 16384;   // namespaces

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

bool all_digits(const char* text) { return *text != '\0' && std::strspn(text, "0123456789") == std::strlen(text); }

}  // namespace

Namespaces::Namespaces(Loop& loop, NamespaceThread& thread, NamespaceRoots roots)
    : loop_(loop), thread_(thread), roots_(std::move(roots)), inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (inotify_.valid()) loop_.watch(inotify_.get(), EPOLLIN, [this](uint32_t) { folder_changed(); });
  begin();
}

Namespaces::~Namespaces() {
  if (inotify_.valid()) loop_.forget(inotify_.get());
  loop_.cancel(next_);
}

void Namespaces::watch_folder() {
  if (folder_watch_ < 0 && inotify_.valid())
    folder_watch_ = ::inotify_add_watch(inotify_.get(), roots_.folder.c_str(), IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR);
}

void Namespaces::folder_changed() {
  alignas(inotify_event) char buffer[4096];
  ssize_t length = 0;
  while ((length = ::read(inotify_.get(), buffer, sizeof buffer)) > 0) {
    for (ssize_t at = 0; at < length;) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      if ((event.mask & IN_IGNORED) != 0) folder_watch_ = -1;
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  begin();
}

void Namespaces::refresh(std::function<void()> then) {
  (looking_ ? later_ : waiting_).push_back(std::move(then));
  begin();
}

void Namespaces::begin() {
  if (looking_) {
    again_ = true;
    return;
  }
  looking_ = true;
  again_ = false;
  watch_folder();
  auto look = std::make_shared<Look>();
  thread_.post(
      [this, look] {
        look_into_folder(*look);
        if (roots_.processes || look->found.empty()) look_at_processes(*look);
      },
      [this, look] { apply(std::move(*look)); });
}

void Namespaces::apply(Look look) {
  looking_ = false;
  std::vector<uint64_t> gone;
  for (const auto& entry : known_)
    if (look.found.count(entry.first) == 0) gone.push_back(entry.first);
  std::map<uint64_t, Namespace> before = std::exchange(known_, std::move(look.found));
  for (const uint64_t cookie : gone) on_gone(cookie);
  for (const auto& [cookie, found] : known_)
    if (before.count(cookie) == 0) on_new(found);

  const auto satisfied = std::exchange(waiting_, std::exchange(later_, {}));
  for (const auto& then : satisfied) then();
  loop_.cancel(next_);
  if (again_ || !waiting_.empty()) begin();
  else next_ = loop_.after(look.unfinished ? kUnfinishedAgainMs : kLookEveryMs, [this] { begin(); });
}

void Namespaces::look_into_folder(Look& look) {
  const Folder folder(::opendir(roots_.folder.c_str()));
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    add(look, roots_.folder + "/" + entry->d_name, entry->d_name, 0);
  }
}

void Namespaces::look_at_processes(Look& look) {
  std::set<uint64_t> inodes;  // namespaces that are there at the same time have different inodes
  for (const auto& [cookie, found] : look.found) inodes.insert(found.inode);
  const Folder folder(::opendir("/proc"));
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (!all_digits(entry->d_name)) continue;
    const std::string path = std::string("/proc/") + entry->d_name + "/ns/net";
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !inodes.insert(status.st_ino).second) continue;
    add(look, path, entry->d_name, static_cast<uint32_t>(std::strtoul(entry->d_name, nullptr, 10)));
  }
}

void Namespaces::add(Look& look, const std::string& path, const std::string& name, uint32_t process) {
  if (look.found.size() >= kLargestLook) return;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return;
  if (!thread_.enter(path, 0).good()) {
    if (S_ISREG(status.st_mode) && std::time(nullptr) - status.st_mtime < kUnfinishedSeconds) look.unfinished = true;
    return;
  }
  const uint64_t cookie = current_namespace_cookie();
  thread_.leave();
  if (cookie == 0) return;
  // Bound twice: the folder comes before processes, and there the first in the order of names.
  const auto before = look.found.find(cookie);
  if (before == look.found.end() || (process == 0 && name < before->second.name)) look.found[cookie] = Namespace{cookie, status.st_ino, process, name, path};
}

void Namespaces::enter(uint64_t cookie, std::function<Outcome()> inside, std::function<void(const Outcome&)> done) {
  const auto found = known_.find(cookie);
  if (found == known_.end()) {
    done({EndCode::Gone, 0, "there is no such namespace"});
    return;
  }
  auto outcome = std::make_shared<Outcome>();
  thread_.post(
      [this, outcome, path = found->second.path, cookie, inside = std::move(inside)] {
        *outcome = thread_.enter(path, cookie);
        if (!outcome->good()) return;
        *outcome = inside();
        thread_.leave();
      },
      [outcome, done = std::move(done)] { done(*outcome); });
}

}  // namespace probe
