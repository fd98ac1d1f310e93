#include "options.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace probe {
namespace {

constexpr char kUsage[] =
    "usage: sidetrace-probe --socket PATH [options]   listen on a Unix socket\n"
    "       sidetrace-probe --fd N [options]          serve the connected Unix socket N, and exit with it\n"
    "\n"
    "  --peer-uid UID      this user may connect, besides the one that the probe runs as (repeatable)\n"
    "  --tunnel-port PORT  allow tunnels to 127.0.0.1:PORT, besides 15000, 15020, 15021, 15053 and 15090 (repeatable)\n"
    "  --netns DIR         where network namespaces are bound (/run/netns)\n"
    "  --processes         look for the namespaces of processes too; without it only where DIR holds none\n"
    "  --ring-budget MIB   kernel memory for all capture rings together, 1 to 65536 (64)\n"
    "  --version\n";

bool number(const char* text, uint64_t least, uint64_t most, uint64_t& value) {
  char* end = nullptr;
  errno = 0;
  value = std::strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value >= least && value <= most;
}

}  // namespace

std::optional<Options> read_options(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i += 1) {
    const std::string flag = arguments[i];
    if (flag == "--processes") {
      options.roots.processes = true;
      continue;
    }
    const char* value = i + 1 < count ? arguments[++i] : "";
    uint64_t parsed = 0;
    bool good = *value != '\0';
    if (flag == "--socket") options.socket = value;
    else if (flag == "--netns") options.roots.folder = value;
    else if (flag == "--fd" && (good = number(value, 3, 1 << 20, parsed))) options.inherited = static_cast<int>(parsed);
    else if (flag == "--peer-uid" && (good = number(value, 0, 0xfffffffe, parsed))) options.users.insert(static_cast<uid_t>(parsed));
    else if (flag == "--tunnel-port" && (good = number(value, 1, 65535, parsed))) options.tunnel_ports.insert(static_cast<uint16_t>(parsed));
    else if (flag == "--ring-budget" && (good = number(value, 1, 65536, parsed))) options.ring_budget = parsed * 1024 * 1024;
    else good = false;
    if (!good) {
      std::fprintf(stderr, "sidetrace-probe: cannot read the arguments at \"%s\"\n%s", flag.c_str(), kUsage);
      return {};
    }
  }
  if (options.socket.empty() == (options.inherited < 0)) {
    std::fprintf(stderr, "sidetrace-probe: either --socket or --fd is needed\n%s", kUsage);
    return {};
  }
  return options;
}

}  // namespace probe
