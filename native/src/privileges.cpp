#include "privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

namespace probe {
namespace {

constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }
constexpr uint64_t kForTools = bit(CAP_NET_ADMIN) | bit(CAP_NET_RAW);

struct CapabilitySets {
  uint64_t effective = 0;
  uint64_t permitted = 0;
  uint64_t inheritable = 0;
};

bool read_sets(CapabilitySets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  sets.effective = data[0].effective | uint64_t{data[1].effective} << 32;
  sets.permitted = data[0].permitted | uint64_t{data[1].permitted} << 32;
  sets.inheritable = data[0].inheritable | uint64_t{data[1].inheritable} << 32;
  return true;
}

bool write_sets(const CapabilitySets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int half = 0; half < 2; half += 1) {
    data[half].effective = static_cast<uint32_t>(sets.effective >> 32 * half);
    data[half].permitted = static_cast<uint32_t>(sets.permitted >> 32 * half);
    data[half].inheritable = static_cast<uint32_t>(sets.inheritable >> 32 * half);
  }
  return ::syscall(SYS_capset, &header, data) == 0;
}

}  // namespace

uint64_t effective_capabilities() {
  CapabilitySets sets;
  return read_sets(sets) ? sets.effective : 0;
}

bool drop_privileges(bool processes) {
  CapabilitySets sets;
  if (!read_sets(sets)) return false;
  // The bounding set limits what a program that is run can get. Lowering it needs CAP_SETPCAP; where that is missing the container has lowered it.
  for (unsigned capability = 0; capability < 64; capability += 1)
    if ((kForTools & bit(capability)) == 0) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  const uint64_t wanted = kForTools | bit(CAP_SYS_ADMIN) | (processes ? bit(CAP_SYS_PTRACE) : 0);
  sets.permitted &= wanted;
  sets.effective = sets.permitted;
  sets.inheritable = sets.permitted & kForTools;
  if (!write_sets(sets) || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (const unsigned capability : std::initializer_list<unsigned>{CAP_NET_ADMIN, CAP_NET_RAW})
    if ((sets.inheritable & bit(capability)) != 0) ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  // A core file would hold traffic.
  return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace probe
