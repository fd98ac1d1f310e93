#!/usr/bin/env python3
"""Starts one container as a runtime would: a root of its own, volumes with their propagation, its user and groups, exactly its capabilities, no_new_privs, a seccomp profile.

    container.py SPEC.json        called by node-agent.py in new mount, PID, IPC and UTS namespaces, and in the pod's network namespace

SPEC: {root, image: {system: [PATH…], files: {PATH: SOURCE}}, mounts: [{target, source, readOnly, propagation}], resolv, hostname, hostPID, user, group, groups,
capabilities: [CAP_…], noNewPrivileges, readOnlyRoot, seccomp: FILE | null, argv, env, directory, pid: FILE}. Its process id, as the machine sees it, goes into `pid`.
"""
import ctypes
import json
import os
import platform
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAPABILITIES = ("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
                "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
                "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE").split()
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(*argv):
    subprocess.run(["mount", *argv], check=True)


def place(path, like):
    """Makes a mount point: a folder or a file, as what is mounted there is."""
    if os.path.isdir(like):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "a").close()


def bind(source, target, read_only=True, propagation="rprivate", deep=True):
    place(target, source)
    mount("--rbind" if deep else "--bind", source, target)
    mount("--make-" + propagation, target)
    if read_only:
        mount("-o", "remount,bind,ro", target)


def furnish(spec):
    """The root: what the image holds, then /proc, /sys and /dev, then the volumes."""
    root = spec["root"]
    os.makedirs(root, exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755,size=1m", "image", root)
    for path in spec["image"]["system"]:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.exists(path):
            bind(path, root + path, deep=False)
    for path, source in spec["image"]["files"].items():
        bind(source, root + path)
    bind(spec["resolv"], root + "/etc/resolv.conf")
    os.makedirs(root + "/proc")
    if spec["hostPID"]:
        mount("--rbind", "/proc", root + "/proc")
    else:
        mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root + "/proc")
        bind(root + "/proc/sys", root + "/proc/sys", deep=False)
    os.makedirs(root + "/sys")
    mount("-t", "sysfs", "-o", "ro,nosuid,nodev,noexec", "sysfs", root + "/sys")
    os.makedirs(root + "/dev")
    mount("-t", "tmpfs", "-o", "mode=755,size=64k,nosuid", "dev", root + "/dev")
    for device in DEVICES:
        bind("/dev/" + device, root + "/dev/" + device, read_only=False)
    for name, to in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(to, root + "/dev/" + name)
    os.makedirs(root + "/tmp")
    os.chmod(root + "/tmp", 0o1777)
    for m in spec["mounts"]:
        bind(m["source"], root + m["target"], m["readOnly"], m["propagation"])


def move_in(spec):
    root = spec["root"]
    os.makedirs(root + "/.outside")
    os.chdir(root)
    if libc.pivot_root(b".", b".outside"):
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    subprocess.run(["umount", "-l", "/.outside"], check=True)
    os.rmdir("/.outside")
    if spec["readOnlyRoot"]:
        mount("-o", "remount,bind,ro", "/")
    os.chdir(spec["directory"])


def filter_of(profile, capabilities):
    """A profile in the format of Docker and the kubelet, as a filter of libseccomp."""
    import seccomp
    actions = {"SCMP_ACT_ALLOW": lambda _: seccomp.ALLOW, "SCMP_ACT_ERRNO": lambda code: seccomp.ERRNO(1 if code is None else code), "SCMP_ACT_KILL": lambda _: seccomp.KILL,
               "SCMP_ACT_KILL_PROCESS": lambda _: seccomp.KILL_PROCESS, "SCMP_ACT_LOG": lambda _: seccomp.LOG}
    compare = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_LT": seccomp.LT, "SCMP_CMP_LE": seccomp.LE, "SCMP_CMP_GT": seccomp.GT, "SCMP_CMP_GE": seccomp.GE}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    kernel = [int(part) for part in platform.release().split(".")[:2] if part.isdigit()]

    def holds(group):
        if not group:
            return None
        return (all(c in capabilities for c in group.get("caps", [])) and ("arches" not in group or machine in group["arches"])
                and ("minKernel" not in group or kernel >= [int(part) for part in group["minKernel"].split(".")]))

    made = seccomp.SyscallFilter(actions[profile["defaultAction"]](profile.get("defaultErrnoRet")))
    made.set_attr(seccomp.Attr.CTL_NNP, 0)
    default = actions[profile["defaultAction"]](profile.get("defaultErrnoRet"))
    for rule in profile["syscalls"]:
        if holds(rule.get("includes")) is False or holds(rule.get("excludes")) is True:
            continue
        action = actions[rule["action"]](rule.get("errnoRet"))
        for name in rule["names"]:
            number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
            if number < 0 or action == default:
                continue  # another machine's call, or one that the default answers
            arguments = [seccomp.Arg(a["index"], seccomp.MASKED_EQ, a["value"], a.get("valueTwo", 0)) if a["op"] == "SCMP_CMP_MASKED_EQ"
                         else seccomp.Arg(a["index"], compare[a["op"]], a["value"]) for a in rule.get("args") or []]
            made.add_rule(action, number, *arguments)
    return made


class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def prctl(*numbers):
    if libc.prctl(*[ctypes.c_ulong(n) for n in numbers], *[ctypes.c_ulong(0)] * (5 - len(numbers))):
        raise OSError(ctypes.get_errno(), f"prctl {numbers}")


def drop(spec):
    """User, groups and capabilities: like runc, a user other than 0 keeps none, since Kubernetes has no ambient capabilities."""
    bits = sum(1 << CAPABILITIES.index(c.removeprefix("CAP_")) for c in spec["capabilities"])
    with open("/proc/sys/kernel/cap_last_cap") as last:
        for capability in range(int(last.read()) + 1):
            if not bits >> capability & 1:
                prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups(spec["groups"])
    os.setresgid(*[spec["group"]] * 3)
    os.setresuid(*[spec["user"]] * 3)
    kept = bits if spec["user"] == 0 else 0
    sets = (Sets * 2)(*[Sets(kept >> 32 * half & 0xFFFFFFFF, kept >> 32 * half & 0xFFFFFFFF, 0) for half in range(2)])
    if libc.capset(ctypes.byref(Header(0x20080522, 0)), sets):
        raise OSError(ctypes.get_errno(), "capset")


def main():
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    profile = None
    if spec["seccomp"]:
        with open(spec["seccomp"]) as file:
            profile = filter_of(json.load(file), spec["capabilities"])
    subprocess.run(["hostname", spec["hostname"]], check=True)
    furnish(spec)
    with open(spec["pid"], "w") as file:
        file.write(os.readlink("/proc/self"))  # the machine's /proc still
    move_in(spec)
    if profile and not spec["noNewPrivileges"]:
        profile.load()  # like runc: without no_new_privs the filter needs rights, so it comes first
    drop(spec)
    if spec["noNewPrivileges"]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if profile:
            profile.load()
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])


main()
