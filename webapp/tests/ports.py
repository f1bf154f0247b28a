"""Ports for servers that are told theirs before they start."""

import random
import socket
from pathlib import Path


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has, and that the system gives to nobody by itself.

    A port of the system's own range may be taken, before a slow server gets to it, by any client
    that connects to something.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, first)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
