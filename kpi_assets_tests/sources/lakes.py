"""Azurite, Microsoft's imitation of Azure's Blob Storage: started for tests where node and its package are there."""

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

ACCOUNT = "devstoreaccount1"
# The key of Azurite's only account, which its documentation shows to everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PATIENCE = 60  # seconds


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Start Azurite with its files in a folder, and yield its address without the account."""
    binary = shutil.which("azurite-blob")
    if binary is None:
        pytest.skip("azurite-blob is not on PATH: npm install --global azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--location",
        str(folder),
        "--blobHost",
        "127.0.0.1",
    ]
    server = subprocess.Popen([binary, *words, "--blobPort", str(port)], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            assert server.poll() is None, "Azurite ended by itself"
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert time.monotonic() < until, "Azurite does not start"
                time.sleep(0.1)
            else:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_container(endpoint: str, name: str) -> None:
    """Make a container on Azurite; obstore does not make any."""
    date = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = f"x-ms-date:{date}\nx-ms-version:2021-08-06\n"
    signed = f"PUT{chr(10) * 12}{headers}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    request = Request(f"{endpoint}/{ACCOUNT}/{name}?restype=container", method="PUT")
    for line in headers.splitlines():
        request.add_header(*line.split(":", 1))
    request.add_header("Authorization", f"SharedKey {ACCOUNT}:{_signature(signed)}")
    request.add_header("Content-Length", "0")
    urlopen(request).close()


def signature(name: str, rights: str) -> str:
    """Return a token for one container, as AZURE_STORAGE_SAS_TOKEN takes it.

    Of the rights `r` is to read, `c` to create, `w` to write, `l` to list, and `d` to delete.
    """
    version, until = "2020-12-06", f"{datetime.now(timezone.utc) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    # In between are what this token does not restrict: a start, a policy, addresses, protocols, and headers.
    signed = [rights, "", until, f"/blob/{ACCOUNT}/{name}", "", "", "", version, "c", *[""] * 7]
    words = {"sp": rights, "se": until, "sv": version, "sr": "c", "sig": _signature("\n".join(signed))}
    return urlencode(words)


def _signature(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
