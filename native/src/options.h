// The command line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "namespaces.h"

namespace probe {

struct Options {
  std::string socket;     // path to listen on; empty where a connected socket was inherited
  int inherited = -1;
  std::set<uid_t> users;  // who may connect, besides the user that the probe runs as
  std::set<uint16_t> tunnel_ports = {15000, 15020, 15021, 15053, 15090};
  NamespaceRoots roots;
  uint64_t ring_budget = 64ull * 1024 * 1024;
};

// Nothing where the command line was not understood, after saying so on standard error.
std::optional<Options> read_options(int count, char** arguments);

}  // namespace probe
