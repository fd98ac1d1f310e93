// Listens, checks who connects, and carries the news from one part to another.
#pragma once

#include <list>

#include "peer.h"

namespace probe {

class Server {
 public:
  // `listening` or, where that is none, `inherited` is a socket.
  Server(const Options& options, Descriptor listening, Descriptor inherited, Descriptor signals);
  ~Server();
  // Until SIGTERM or SIGINT has been obeyed, or the inherited peer has left.
  void run();

 private:
  void accept();
  void signalled();
  bool admitted(int socket) const;
  void second_passed();

  const Options& options_;
  Loop loop_;
  Descriptor listening_;
  Descriptor signals_;
  NamespaceThread thread_;
  Namespaces namespaces_;
  Service service_;
  std::list<Peer> peers_;
  bool stopping_ = false;
  bool stop_now_ = false;
};

}  // namespace probe
