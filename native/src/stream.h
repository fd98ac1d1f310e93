// What a peer asked for and is still being answered: a capture, a dump, a tool that runs, … Each has the id that the peer chose.
#pragma once

#include <memory>
#include <string_view>

#include "loop.h"
#include "namespaces.h"
#include "outbox.h"

namespace probe {

// What a stream may ask of the peer that it belongs to.
class StreamOwner {
 public:
  virtual ~StreamOwner() = default;
  virtual Outbox& outbox() = 0;
  // False: the socket is congested. The stream then leaves its input where it is, in the kernel.
  virtual bool has_room() const = 0;
  // Takes the stream out of the peer's list; it lives until the loop's next turn.
  virtual void release(uint32_t id) = 0;
};

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(StreamOwner& owner, uint32_t id, uint64_t cookie) : owner_(owner), id_(id), cookie_(cookie) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Called once, when the peer's list holds the stream.
  virtual void start() = 0;
  // Ends the stream, at once or as soon as what it holds has been handed out.
  virtual void close(const Outcome& why) { finish(why); }
  // The peer's socket became congested, or free again.
  virtual void pause(bool) {}
  // Once a second.
  virtual void tick() {}
  // Bytes from the peer.
  virtual void data(std::string_view) {}
  // The peer took so many bytes of what it was sent.
  virtual void credit(uint32_t) {}
  virtual void send_stats() {}
  virtual void namespace_new(const Namespace&) {}
  virtual void namespace_gone(uint64_t) {}
  // A process or a connection of its own: there may be fewer of these.
  virtual bool costly() const { return false; }

  // 0 where the stream belongs to no namespace.
  uint64_t cookie() const { return cookie_; }

 protected:
  // The end was sent. What the loop had still to tell of the stream's descriptors in the same turn is for nobody.
  bool over() const { return ended_; }
  // Sends the end, once, and leaves the peer's list.
  void finish(const Outcome& why) {
    if (ended_) return;
    Outbox& out = owner_.outbox();
    out.begin(Reply::End, id_);
    out.u16(static_cast<uint16_t>(why.code));
    out.u16(0);
    out.u32(static_cast<uint32_t>(why.error));
    out.text(why.text);
    out.end();
    owner_.release(id_);
  }
  void send_opened() {
    owner_.outbox().begin(Reply::Opened, id_);
    owner_.outbox().end();
  }
  // Work inside the stream's namespace. A stream that ended meanwhile hears nothing; what the work opened must then be closed by its owner's destructor.
  template <typename Self>
  void inside(Namespaces& namespaces, std::function<Outcome()> work, void (Self::*done)(const Outcome&)) {
    namespaces.enter(cookie_, std::move(work), [weak = weak_from_this(), done](const Outcome& outcome) {
      if (const auto self = weak.lock(); self != nullptr && !self->ended_) (static_cast<Self*>(self.get())->*done)(outcome);
    });
  }

  StreamOwner& owner_;
  const uint32_t id_;
  const uint64_t cookie_;

 private:
  friend class Peer;
  bool ended_ = false;
};

}  // namespace probe
