// LIST and WATCH: the namespaces that are there, and those that come and go.
#pragma once

#include "stream.h"

namespace probe {

class NamespaceList final : public Stream {
 public:
  NamespaceList(StreamOwner& owner, uint32_t id, Namespaces& namespaces, bool follow) : Stream(owner, id, 0), namespaces_(namespaces), follow_(follow) {}

  void start() override {
    namespaces_.refresh([weak = weak_from_this()] {
      if (const auto self = weak.lock()) static_cast<NamespaceList*>(self.get())->listed();
    });
  }
  void namespace_new(const Namespace& found) override {
    if (ready_) send(found);
  }
  void namespace_gone(uint64_t cookie) override {
    if (!ready_) return;
    owner_.outbox().begin(Reply::Gone, id_);
    owner_.outbox().u64(cookie);
    owner_.outbox().end();
  }

 private:
  void listed() {
    for (const auto& [cookie, found] : namespaces_.known()) send(found);
    if (!follow_) return finish({});
    ready_ = true;
    owner_.outbox().begin(Reply::Ready, id_);
    owner_.outbox().end();
  }
  void send(const Namespace& found) {
    Outbox& out = owner_.outbox();
    out.begin(Reply::Namespace, id_);
    out.u64(found.cookie);
    out.u64(found.inode);
    out.u32(found.process);
    out.text(found.name);
    out.end();
  }

  Namespaces& namespaces_;
  const bool follow_;
  bool ready_ = false;
};

}  // namespace probe
