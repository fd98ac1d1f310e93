// One connection: its messages, its streams, and how much waits to be sent to it.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "capture.h"
#include "options.h"
#include "stream.h"

namespace probe {

// What all peers share.
struct Service {
  Loop& loop;
  NamespaceThread& thread;
  Namespaces& namespaces;
  const Options& options;
  RingBudget rings;
};

class Peer final : public StreamOwner {
 public:
  Peer(Service& service, Descriptor socket);
  ~Peer() override;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // After each turn of the loop: sends what waits, and slows down or goes on.
  void settle();
  void tick();
  void namespace_new(const Namespace& found);
  void namespace_gone(uint64_t cookie);
  // No more requests; what lies in the rings is handed out, then BYE.
  void shut_down();
  bool over() const { return over_; }

  Outbox& outbox() override { return outbox_; }
  bool has_room() const override;
  void release(uint32_t id) override;

 private:
  void readable();
  // False: the message makes no sense, and the peer was told.
  bool handle(uint16_t type, uint32_t id, std::string_view payload);
  bool handle_hello(Reader& payload, uint32_t id);
  // The stream that a request wants, or none where the request makes no sense.
  std::shared_ptr<Stream> make_stream(Request type, uint32_t id, Reader& payload);
  std::shared_ptr<Stream> make_capture(uint32_t id, Reader& payload);
  void begin(uint32_t id, const std::shared_ptr<Stream>& stream);
  bool cut_off(std::string_view because);
  void say_bye(std::string_view because);
  std::vector<std::shared_ptr<Stream>> streams_now() const;

  Service& service_;
  Descriptor socket_;
  Outbox outbox_;
  std::string inbox_;
  std::unordered_map<uint32_t, std::shared_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Stream>> released_;
  Loop::Timer hello_limit_ = 0;
  bool greeted_ = false;
  bool congested_ = false;
  bool leaving_ = false;       // nothing more is read
  bool shutting_down_ = false;
  bool said_bye_ = false;
  bool over_ = false;
};

}  // namespace probe
