"""The app of `kpi serve` on a port of its own, in a thread of the test, and a client that follows no redirect."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3
import uvicorn
from fastapi import FastAPI

from kpi_assets.settings import Settings
from kpi_assets.surface.app import make_app
from kpi_assets.surface.run import OPTIONS
from kpi_assets_tests.machine import free_port


@dataclass
class Client:
    """Sends requests to one address; `headers` go with each of them."""

    address: str
    app: FastAPI
    headers: Mapping[str, str] = field(default_factory=dict)
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=20))
    server: uvicorn.Server | None = None

    def get(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send one request. In the names of headers `_` stands for `-`."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.pool.request(
            method, self.address + path, headers=sent, body=body, redirect=False, retries=False, timeout=60
        )

    def json(self, path: str) -> Any:
        """Return the answer as JSON; it must have the status 200."""
        found = self.get(path)
        assert found.status == 200, found.data
        return found.json()


@contextmanager
def serving(settings: Settings, pipelines: Mapping[str, Any] | None = None) -> Iterator[Client]:
    """Run the app until the end of the context."""
    port = free_port()
    app = make_app(settings, pipelines, port)
    server = uvicorn.Server(uvicorn.Config(app, port=port, **OPTIONS))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(f"http://127.0.0.1:{port}", app, server=server)
    finally:
        server.should_exit = True
        thread.join(10)
