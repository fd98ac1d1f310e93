#!/usr/bin/env python3
"""Asks the resolver of /etc/resolv.conf for a name's IPv4 addresses over TCP (RFC 7766): dns-over-tcp.py NAME."""
import re
import socket
import struct
import sys

resolver = re.search(r"^nameserver (\S+)", open("/etc/resolv.conf").read(), re.M)[1]
labels = b"".join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split("."))
question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
with socket.create_connection((resolver, 53), timeout=5) as s:
    s.sendall(struct.pack(">H", len(question)) + question)
    answer = s.recv(4096)[2:]
print("rcode", answer[3] & 15, "answers", struct.unpack(">H", answer[6:8])[0])
