// The system calls that the probe and its tools may make. The filter is a BPF program over seccomp_data (linux/seccomp.h, seccomp(2)); what it does not
// name fails with EPERM.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <vector>

#include "privileges.h"

namespace probe {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the list of system calls is written for x86_64 and aarch64"
#endif

// Whatever their arguments are.
const uint32_t kAllowed[] = {
    // waiting, reading, writing
    SYS_epoll_create1, SYS_epoll_pwait, SYS_epoll_ctl, SYS_ppoll, SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_pread64, SYS_lseek, SYS_close, SYS_fcntl, SYS_ioctl, SYS_dup, SYS_dup3,
    SYS_pipe2, SYS_eventfd2, SYS_futex, SYS_inotify_init1, SYS_inotify_add_watch,
    // sockets: socket() itself is below
    SYS_sendto, SYS_sendmsg, SYS_recvfrom, SYS_recvmsg, SYS_connect, SYS_accept4, SYS_bind, SYS_shutdown, SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_getpeername,
    // looking at files: openat() itself is below
    SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_getdents64, SYS_readlinkat, SYS_faccessat, SYS_faccessat2, SYS_getcwd, SYS_fadvise64, SYS_flock,
    // memory
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
    // time and chance
    SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
    // threads, tools and their ends: clone() itself is below
    SYS_execve, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_pidfd_open, SYS_kill, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack,
    SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_sched_yield, SYS_sched_getaffinity, SYS_restart_syscall,
    // about oneself
    SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_sysinfo, SYS_prlimit64, SYS_umask, SYS_prctl, SYS_capget, SYS_capset,
#if defined(__x86_64__)
    SYS_epoll_wait, SYS_poll, SYS_dup2, SYS_pipe, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getrlimit, SYS_arch_prctl, SYS_vfork, SYS_getpgrp, SYS_time,
#endif
};

constexpr uint32_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
constexpr uint32_t kOpenForWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;

class Program {
 public:
  void allow(uint32_t call) {
    jump(BPF_JEQ, call, 0, 1);
    answer(SECCOMP_RET_ALLOW);
  }
  // Allowed where `argument` is `value`.
  void allow_equal(uint32_t call, unsigned argument, uint32_t value) {
    jump(BPF_JEQ, call, 0, 5);
    load(argument_at(argument));
    jump(BPF_JEQ, value, 0, 1);
    answer(SECCOMP_RET_ALLOW);
    refuse(EPERM);
    load(offsetof(seccomp_data, nr));
  }
  // Allowed where `argument` has none of `bits`.
  void allow_without(uint32_t call, unsigned argument, uint32_t bits) {
    jump(BPF_JEQ, call, 0, 5);
    load(argument_at(argument));
    jump(BPF_JSET, bits, 1, 0);
    answer(SECCOMP_RET_ALLOW);
    refuse(EPERM);
    load(offsetof(seccomp_data, nr));
  }
  // socket(): packets, netlink, local ones; of IP streams and, for the legacy tools, raw ones. No datagrams: nothing here may ask a name server.
  void allow_sockets() {
    const size_t start = steps_.size();
    jump(BPF_JEQ, SYS_socket, 0, 0);
    load(argument_at(0));
    for (const uint32_t family : {AF_PACKET, AF_NETLINK, AF_UNIX}) {
      jump(BPF_JEQ, family, 0, 1);
      answer(SECCOMP_RET_ALLOW);
    }
    jump(BPF_JEQ, AF_INET, 2, 0);
    jump(BPF_JEQ, AF_INET6, 1, 0);
    refuse(EPERM);
    load(argument_at(1));
    step(BPF_ALU | BPF_AND | BPF_K, 0xf);
    for (const uint32_t type : {SOCK_STREAM, SOCK_RAW}) {
      jump(BPF_JEQ, type, 0, 1);
      answer(SECCOMP_RET_ALLOW);
    }
    refuse(EPERM);
    steps_[start].jf = static_cast<uint8_t>(steps_.size() - start - 1);
  }
  void load(size_t offset) { step(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  void jump(uint16_t kind, uint32_t value, uint8_t yes, uint8_t no) { steps_.push_back({static_cast<uint16_t>(BPF_JMP | kind | BPF_K), yes, no, value}); }
  void answer(uint32_t value) { step(BPF_RET | BPF_K, value); }
  void refuse(uint32_t error) { answer(SECCOMP_RET_ERRNO | error); }

  bool install() {
    const sock_fprog program{static_cast<unsigned short>(steps_.size()), steps_.data()};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  }

 private:
  static size_t argument_at(unsigned argument) { return offsetof(seccomp_data, args) + argument * sizeof(uint64_t); }
  void step(int code, uint32_t value) { steps_.push_back({static_cast<uint16_t>(code), 0, 0, value}); }

  std::vector<sock_filter> steps_;
};

}  // namespace

bool filter_system_calls() {
  Program program;
  program.load(offsetof(seccomp_data, arch));
  program.jump(BPF_JEQ, kArchitecture, 1, 0);
  program.answer(SECCOMP_RET_KILL_PROCESS);
  program.load(offsetof(seccomp_data, nr));
  for (const uint32_t call : kAllowed) program.allow(call);
  program.allow_equal(SYS_setns, 1, CLONE_NEWNET);
  program.allow_without(SYS_clone, 0, kNewNamespaces);
  program.allow_without(SYS_openat, 2, kOpenForWriting);
  program.allow_sockets();
  // Its flags lie in memory, where a filter cannot look. The C library then uses clone().
  program.jump(BPF_JEQ, SYS_clone3, 0, 1);
  program.refuse(ENOSYS);
  program.refuse(EPERM);
  return program.install();
}

}  // namespace probe
