#!/usr/bin/env python3
"""Records pods of the lab while a command runs: a bundle for each node, and beside them what Envoy said happened (truth/).

Uses only what an operator has: tcpdump, conntrack, iptables-save, nft, ip, ss and curl. The order matters: the counters of the rules are read
after the capture began and before it ends, so that every connection between the two readings is in the packets, and Envoy, whose answers are large, is
asked before the capture begins and after it ended.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ENVOY = "http://127.0.0.1:15000"
SECRET = re.compile(rb"-----BEGIN (RSA |EC )?PRIVATE KEY|eyJhbGciOi|LS0tLS1CRUdJTiB(SU0EgUFJJVkFURSBLRV|FQyBQUklWQVRFIEtFW|QUklWQVRFIEtFW)")  # as PEM, as JWT, as PEM in base64
TCPDUMP = "tcpdump -n -i any -y LINUX_SLL2 --time-stamp-precision=nano -s 0 -B 8192 -U -Z root -w -".split()
CONNTRACK_EVENTS = "conntrack -E -o timestamp,extended,id".split()

# kind, address family, file name, command; each read at the start and at the end
KERNEL = [
    ("iptables-save", "ipv4", "iptables-save.{}.txt", "iptables-save -c"),
    ("ip6tables-save", "ipv6", "ip6tables-save.{}.txt", "ip6tables-save -c"),
    ("nft", None, "nft.{}.json", "nft -j list ruleset"),
    ("ip-rule", "ipv4", "ip-rule.ipv4.{}.txt", "ip -4 rule"),
    ("ip-rule", "ipv6", "ip-rule.ipv6.{}.txt", "ip -6 rule"),
    ("conntrack", "ipv4", "conntrack.ipv4.{}.txt", "conntrack -L -f ipv4 -o extended,id"),
    ("conntrack", "ipv6", "conntrack.ipv6.{}.txt", "conntrack -L -f ipv6 -o extended,id"),
    ("sockets", None, "sockets.{}.txt", "ss -tunaepH"),
]
# kind, file name, path on the admin port, read at
PROXY = [
    ("config_dump", "config_dump.{}.json", "/config_dump?include_eds", ("start", "end")),
    ("clusters", "clusters.{}.json", "/clusters?format=json", ("end",)),
    ("listeners", "listeners.{}.json", "/listeners?format=json", ("end",)),
    ("certs", "certs.{}.json", "/certs", ("end",)),
    ("server_info", "server_info.{}.json", "/server_info", ("end",)),
    ("stats", "stats.{}.txt", "/stats/prometheus", ("start", "end")),
]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def run(argv):
    return subprocess.run(argv, capture_output=True)


def first_line(*argv):
    done = run(argv)
    return (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[0]


def kubectl(mesh, *words):
    return json.loads(run([mesh, "kubectl", "get", *words, "-o", "json"]).stdout)


class Namespace:
    """A network namespace that is recorded: how to run a command in it, and what was read of it so far."""

    def __init__(self, out, node, path, netns, enter, has_proxy, log):
        self.node, self.path, self.netns, self.enter, self.has_proxy, self.log = node, path, netns, enter, has_proxy, log
        self.folder = out / node / path
        self.folder.mkdir(parents=True)
        self.log_begin = log.stat().st_size if log and log.exists() else 0
        self.pod, self.files = None, []

    def inside(self, *argv):
        return [*self.enter, "ip", "netns", "exec", self.netns, *argv]

    def snapshot(self, kind, family, name, when, argv):
        """Reads one thing. Says `same` where nothing changed since the start, `empty` where there is nothing, `failed` and why where it could not be read."""
        entry = {"kind": kind, **({"family": family} if family else {}), "readAt": now()}
        done = run(self.inside(*argv))
        start, file = self.folder / name.format("start"), self.folder / name.format(when)
        if done.returncode:
            entry.update(status="failed", reason=done.stderr.decode(errors="replace").strip()[-200:] or f"exit {done.returncode}")
        elif not done.stdout.strip():
            entry["status"] = "empty"
        elif when == "end" and start.exists() and start.read_bytes() == done.stdout:
            entry["status"] = "same"
        else:
            file.write_bytes(done.stdout)
            entry.update(status="ok", file=file.name)
        self.files.append(entry)

    def read_kernel(self, when):
        for kind, family, name, command in KERNEL:
            self.snapshot(kind, family, name, when, command.split())

    def read_proxy(self, when, leave_out):
        for kind, name, path, at in PROXY if self.has_proxy else ():
            if when in at and kind not in leave_out:
                self.snapshot(kind, None, name, when, ["curl", "-sf", "-m", "10", ENVOY + path])

    def watch(self, kind, name, argv):
        self.files.append({"kind": kind, "readAt": now(), "status": "ok", "file": name})
        with open(self.folder / name, "wb") as sink:
            return subprocess.Popen(self.inside(*argv), stdout=sink, stderr=subprocess.DEVNULL)

    def access_log(self):
        if not self.log or not self.log.exists():
            return []
        with open(self.log, "rb") as f:
            f.seek(self.log_begin)
            return [line for line in f.read().decode(errors="replace").splitlines() if line.startswith("{")]

    def described(self):
        links = json.loads(run(self.inside("ip", "-j", "addr")).stdout)
        addresses = lambda link: [a["local"] for a in link["addr_info"]]
        return {
            "path": self.path,
            "netns": self.netns,
            **({"pod": self.pod} if self.pod else {}),
            "interfaces": [{"index": link["ifindex"], "name": link["ifname"], "addresses": addresses(link)} for link in links],
            "files": self.files,
        }


def of_pod(lab, out, listed):
    meta, node = listed["metadata"], listed["spec"]["nodeName"]
    letter = node.removeprefix("node-")
    process = (lab / f"node-{letter}.pid").read_text().strip()
    containers = listed["spec"]["containers"] + listed["spec"].get("initContainers", [])
    has_proxy = any(c["name"] == "istio-proxy" for c in containers)
    log = lab / "kubelet" / letter / "pods" / meta["uid"] / "istio-proxy.log"
    space = Namespace(out, node, f"{meta['namespace']}_{meta['name']}", "cni-" + meta["uid"], ["nsenter", "-t", process, "-m", "-n", "--"], has_proxy, log)
    space.pod = {key: meta[key] for key in ("namespace", "name", "uid")}
    return space


def stop(watchers):
    for watcher in watchers:
        watcher.send_signal(signal.SIGINT)
    for watcher in watchers:
        watcher.wait()


def write_json(path, value, **how):
    with open(path, "w") as f:
        json.dump(value, f, **how)


def main():
    parser = argparse.ArgumentParser(prog="mesh record", description="Records pods while a command runs: OUT/node-a, OUT/node-b (bundles), OUT/truth.")
    parser.add_argument("--pods", metavar="NAME,…", default="", help="only pods whose names begin so (default: all but istiod)")
    parser.add_argument("--netns", metavar="NAME[=LOG],…", default="", help="instead of pods, network namespaces of this machine; with the access log of the Envoy inside, where there is one")
    parser.add_argument("--filter", default="", help="what tcpdump keeps (pcap-filter(7))")
    parser.add_argument("--leave-out", metavar="KIND,…", default="stats,server_info", help="kinds that are not read from Envoy")
    parser.add_argument("--settle", type=float, default=2, help="seconds between the command's end and the last readings, so that Envoy has written its access log")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    a = parser.parse_args()
    leave_out = a.leave_out.split(",")

    shutil.rmtree(a.out, ignore_errors=True)
    (a.out / "truth").mkdir(parents=True)
    listed = {}
    if a.netns:
        named = [name.partition("=") for name in a.netns.split(",")]
        spaces = [Namespace(a.out, "node-a", name, name, [], bool(log), pathlib.Path(log) if log else None) for name, _, log in named]
    else:
        lab, mesh = pathlib.Path(os.environ["LAB"]), os.environ["MESH"]
        begins = tuple(a.pods.split(","))
        wanted = lambda pod: pod["metadata"]["name"].startswith(begins) if a.pods else not pod["metadata"]["name"].startswith("istiod")
        running = [p for p in kubectl(mesh, "pods", "-A")["items"] if p["status"].get("podIP") and not p["spec"].get("hostNetwork")]
        spaces = [of_pod(lab, a.out, pod) for pod in running if wanted(pod)]
        if not spaces:
            sys.exit(f'Cannot record: pods whose names begin with "{a.pods}" are needed, there are none')

    for space in spaces:
        space.read_proxy("start", leave_out)
    watchers = []
    for space in spaces:
        watchers.append(space.watch("packets", "packets.pcap", TCPDUMP + ([a.filter] if a.filter else [])))
        watchers.append(space.watch("conntrack-events", "conntrack.events.txt", CONNTRACK_EVENTS))
    time.sleep(2)  # both programs have opened their sockets
    for space in spaces:
        space.read_kernel("start")
    begun = now()
    code = subprocess.call(a.command)
    ended = now()
    time.sleep(a.settle)
    for space in spaces:
        space.read_kernel("end")
    time.sleep(1.5)  # tcpdump reads its ring once a second
    stop(watchers)
    for space in spaces:
        space.read_proxy("end", leave_out)

    commands = {"tcpdump": "--version", "iptables-save": "--version", "nft": "--version", "conntrack": "--version", "ip": "-V"}
    tools = {**{name: first_line(name, flag) for name, flag in commands.items()}, "kernel": os.uname().release}
    clock = {"realtime": now(), "boot": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    if not a.netns:
        listed = {name: kubectl(mesh, name, "-A") for name in ("pods", "services", "endpointslices")}
    for items in listed.values():
        for item in items["items"]:
            item["metadata"].pop("managedFields", None)
    for node in sorted({space.node for space in spaces}):
        write_json(a.out / node / "bundle.json", {
            "format": "sidetrace-bundle", "version": 1, "node": node, "begun": begun, "ended": ended, "recorder": "test/mesh/record.py",
            "clock": clock, "tools": tools, "namespaces": [space.described() for space in spaces if space.node == node],
        }, indent=1)
        for name, items in listed.items():
            write_json(a.out / node / f"{name}.json", items)
    for space in spaces:
        lines = space.access_log()
        if lines:
            (a.out / "truth" / f"access-log.{space.pod['name'] if space.pod else space.path}.jsonl").write_text("\n".join(lines) + "\n")
    write_json(a.out / "truth" / "run.json", {"command": a.command, "exit": code, "begun": begun, "ended": ended})

    secrets = [str(path) for path in a.out.rglob("*") if path.is_file() and SECRET.search(path.read_bytes())]
    if secrets:
        shutil.rmtree(a.out)
        sys.exit(f"Cannot keep the recording: no private key and no token may be in it, they were in {', '.join(secrets)}. It was removed")
    sys.exit(code)


main()
