#!/usr/bin/env python3
"""Opens connections from one and the same local port to several destinations at once, and sends a request on each.

    same-port.py PORT HOST:PORT…

Redirected to one proxy port they would share their tuple, so the kernel gives all but the first another port.
"""
import socket
import sys

port, targets = int(sys.argv[1]), [target.rsplit(":", 1) for target in sys.argv[2:]]
connections = []
for host, destination in targets:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    s.settimeout(5)
    s.connect((host, int(destination)))
    connections.append((s, host))
for s, host in connections:
    s.sendall(f"GET /details/0 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
for s, _ in connections:
    print(s.recv(65536).split(b"\r\n", 1)[0].decode(), end=" ")
    s.close()
