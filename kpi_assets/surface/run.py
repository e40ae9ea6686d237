"""Runs the app of `kpi serve` until it is stopped.

Belongs here: the HTTP server and its limits. Not here: the app (app.py), and starting embedded servers (cli/serve.py).
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

import uvicorn

from kpi_assets.errors import UserError
from kpi_assets.settings import Settings
from kpi_assets.surface.connections import ImpatientProtocol
from kpi_assets.surface.limits import HEADERS
from kpi_assets.telemetry.start import start

OPTIONS: Mapping[str, Any] = {
    "http": ImpatientProtocol,  # of h11, which bounds what it reads of a request before the request is refused
    "h11_max_incomplete_event_size": 2 * HEADERS,
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,  # the address of a reader is that of the connection
    "server_header": False,
    "limit_concurrency": 1000,  # connections
    "timeout_keep_alive": 30,  # seconds
    "timeout_graceful_shutdown": 5,  # seconds for the answers that are being made when the server is stopped
}


def run(config: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `on_ready` gets the address once requests are answered.

    `config` names the warehouse server. Raises UserError if the port is taken, or if the settings would let anybody in.
    """
    from kpi_assets.surface.app import make_app  # noqa: PLC0415  after the settings have been found right

    app = make_app(config)
    start("kpi-serve", app.state.surface.figures.now)
    with _listen(config.serve_host, config.serve_port) as listener:
        server = uvicorn.Server(uvicorn.Config(app, **OPTIONS))
        asyncio.run(_serve(server, listener, lambda: on_ready(address_of(config))))


async def _serve(server: uvicorn.Server, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        on_ready()
    await serving


def address_of(config: Settings) -> str:
    """Return the address at which people of this machine reach the server, or the public one."""
    host = ip_address(config.serve_host)
    if config.serve_url:
        return config.serve_url
    if host.is_unspecified:
        return f"http://127.0.0.1:{config.serve_port}"
    return f"http://[{host}]:{config.serve_port}" if host.version == 6 else f"http://{host}:{config.serve_port}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"Nothing can be served at {host}, port {port} ({error.strerror}): choose another port with --port or "
            "KPI_SERVE_PORT."
        ) from None
    return listener
