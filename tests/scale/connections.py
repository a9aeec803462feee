"""A fault of the network for tests: the connections between the processes of a job are reset."""

import os
import socket


def reset_connections() -> None:
    """Resets this process's connections to other processes, except those of the coordination service."""
    coordinator = int(os.environ["JAXASR_COORDINATOR"].rpartition(":")[2])
    for number in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                continue
            connection = socket.socket(fileno=os.dup(int(number)))
            peer = connection.getpeername()
            own = connection.getsockname()
        except OSError:  # it was closed, or listens
            continue
        with connection:
            if isinstance(peer, tuple) and coordinator not in (peer[1], own[1]):
                connection.shutdown(socket.SHUT_RDWR)
