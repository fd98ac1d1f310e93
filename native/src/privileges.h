// What the process may still do once it serves.
#pragma once

#include <cstdint>

namespace probe {

// Keeps CAP_SYS_ADMIN (setns), CAP_NET_ADMIN (netlink, rules) and CAP_NET_RAW (packet sockets), of those that are there; with `processes` also
// CAP_SYS_PTRACE, without which /proc/PID/ns cannot be opened. Tools that are run get CAP_NET_ADMIN and CAP_NET_RAW alone. Neither can be regained.
// False: the kernel refused, and nobody may be served.
bool drop_privileges(bool processes);

// The effective set, one bit a capability.
uint64_t effective_capabilities();

// From now on, for this thread and those that it starts, and for the tools: the system calls of a list and no others. False: as above.
bool filter_system_calls();

}  // namespace probe
