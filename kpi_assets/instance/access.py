"""Access to the web UI: the host names that it answers to, and the token that a person needs.

Belongs here: reading both from the settings or a file below KPI_HOME. Not here: the rules that use them (guard.py).
"""

import os
import secrets
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from kpi_assets.embedded.home import replace_file
from kpi_assets.errors import UsageError, UserError
from kpi_assets.settings import Settings

LOOPBACK = "127.0.0.1"


def allowed_hosts(settings: Settings, port: int) -> frozenset[str]:
    """Return the accepted Host headers: the loopback names with the port, and KPI_UI_HOSTS."""
    return frozenset([*(f"{name}:{port}" for name in (LOOPBACK, "localhost", "[::1]")), *settings.ui_host_names])


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return ip_address(host).is_loopback


def check_readers(settings: Settings) -> None:
    """Raise UsageError if `kpi serve` would let in everybody who reaches this machine."""
    if settings.serve_proxy_header and not settings.serve_proxy_addresses:
        raise UsageError(
            "KPI_SERVE_PROXY_HEADER is set and KPI_SERVE_PROXY_ADDRESSES is not, so anybody could send that header: "
            "set it to the addresses of the proxy."
        )
    if not (is_loopback(settings.serve_host) or settings.serve_keys or settings.serve_proxy_header):
        raise UsageError(
            f"On {settings.serve_host} anybody who reaches this machine could read the KPIs: set KPI_SERVE_KEYS (`kpi "
            "serve --new-key NAME` makes a key), or KPI_SERVE_PROXY_HEADER and KPI_SERVE_PROXY_ADDRESSES if a proxy "
            "asks who comes."
        )


def cookie_name(port: int) -> str:
    """Return the cookie's name. It has the port in it, because browsers share cookies among the ports of a host."""
    return f"kpi_ui_{port}"


def make_token(settings: Settings) -> str | None:
    """Return the token for a web UI that is about to start; the first start makes it. None: no token is needed."""
    if settings.ui_token is None:
        path = _token_file(settings.home)
        if not _is_private(path) or not path.read_text():
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            replace_file(path, secrets.token_urlsafe(24), 0o600)
    return token_of(settings)


def token_of(settings: Settings) -> str | None:
    """Return the token of the web UI, or None if it needs none.

    Raises UserError if there is neither the setting nor the file that `kpi up` makes.
    """
    if settings.ui_token is not None:
        return settings.ui_token.get_secret_value() or None
    try:
        return _token_file(settings.home).read_text()
    except OSError as error:
        raise UserError(
            f"The web UI has no token ({error.strerror}: {error.filename}): set KPI_UI_TOKEN to a long random text, or "
            "to nothing where a proxy before it asks who comes."
        ) from None


def link(address: str, token: str | None) -> str:
    """Return the address with the token in it. Print it on the terminal only, never in a message or log."""
    return f"{address}/?token={quote(token)}" if token else address


def _token_file(home: Path) -> Path:
    return home.resolve() / "run" / "ui_token"


def _is_private(path: Path) -> bool:
    """Return whether the file exists and only we can read it. Others may know a token that they could read."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077
