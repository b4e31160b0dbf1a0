"""Serving the sandbox: HTTP/2 and HTTP/1.1 over TLS, one worker so that its lists are complete."""

import socket
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, SSLProtocols
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from senders.sandbox.app import create_application
from senders.sandbox.certificates import ensure_certificates

DEFAULT_PORT = 9443
CONCURRENT_STREAMS = 1000  # what Apple has been seen to allow


def serve(port: int, data_dir: Path, host: str = "127.0.0.1", relay_port: int = 0) -> None:
    """Serve until SIGINT or SIGTERM; the CA to trust is ``data_dir/sandbox-ca.pem``.

    ``relay_port`` (0: the port after ``port``) is where connections go wrong on request.

    Raises:
        OSError: the directory cannot be written, or a port is taken.
    """
    relay_port = relay_port or port + 1
    files = ensure_certificates(data_dir)
    for wanted in (port, relay_port):
        _check_free(host, wanted)
    load: Any = partial(  # its type in granian is a union that no checker follows
        create_application, port, relay_port, host, files
    )
    MPServer(
        "senders.sandbox.app",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        runtime_mode=RuntimeModes.st,  # measured: a fifth less work a request than mt
        http=HTTPModes.auto,
        http2_settings=HTTP2Settings(max_concurrent_streams=CONCURRENT_STREAMS),
        websockets=False,
        workers_kill_timeout=2,  # hanging answers must not hold up a stop
        log_level=LogLevels.warning,
        ssl_cert=files.certificate,
        ssl_key=files.key,
        ssl_protocol_min=SSLProtocols.tls12,
    ).serve(target_loader=load, wrap_loader=False)


def _check_free(host: str, port: int) -> None:
    """Refuse a taken port: the server's own sockets would share it, and answers with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        pass
