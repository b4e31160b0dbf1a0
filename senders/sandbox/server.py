"""Serving the sandbox: HTTP/2 and HTTP/1.1 over TLS, one process, one thread of Python."""

import asyncio
import signal
from pathlib import Path

import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from senders.sandbox.app import Application, Sandbox
from senders.sandbox.certificates import ensure_certificates

DEFAULT_PORT = 9443
CONCURRENT_STREAMS = 1000  # what Apple has been seen to allow


def serve(port: int, data_dir: Path, host: str = "127.0.0.1") -> None:
    """Serve until SIGINT or SIGTERM; the CA to trust is ``data_dir/sandbox-ca.pem``.

    Raises:
        OSError: the directory cannot be written, or the port is taken.
    """
    uvloop.run(_serve(port, data_dir, host))


async def _serve(port: int, data_dir: Path, host: str) -> None:
    files = ensure_certificates(data_dir)
    server = Server(
        Application(Sandbox()),
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=1024,
        http2_settings=HTTP2Settings(max_concurrent_streams=CONCURRENT_STREAMS),
        log_level=LogLevels.warning,
        ssl_cert=files.certificate,
        ssl_key=files.key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve()
