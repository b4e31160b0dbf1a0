"""Cutting a client's connection from inside the server, as a failing network would."""

import os
import socket
import stat
from pathlib import Path

_DESCRIPTORS = Path("/dev/fd")


def cut(peer: str) -> bool:
    """Shut the TCP connection whose other end is ``host:port``; false if it is not ours.

    Nothing is said in TLS or HTTP/2 before: the client sees its connection break with all the
    requests on it unanswered.
    """
    host, _, port = peer.rpartition(":")
    wanted = (host.strip("[]"), int(port))
    for entry in _DESCRIPTORS.iterdir():
        connection = _stream(int(entry.name))
        if connection is None:
            continue
        with connection:
            try:
                if connection.getpeername()[:2] == wanted:
                    connection.shutdown(socket.SHUT_RDWR)
                    return True
            except OSError:
                continue  # a listener, or gone meanwhile
    return False


def _stream(descriptor: int) -> socket.socket | None:
    """A second handle on a descriptor that is an IP socket."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None
    if found.family in (socket.AF_INET, socket.AF_INET6):
        return found
    found.close()
    return None
