"""Who may use the web UI: the host names that it answers to, and the token that lets a person in.

Belongs here: where both come from, the settings or a file below KPI_HOME. Not here: the rules that use them (guard.py).
"""

import os
import secrets
from pathlib import Path
from urllib.parse import quote

from kpi_assets.embedded.home import replace
from kpi_assets.errors import UserError
from kpi_assets.settings import Settings

LOOPBACK = "127.0.0.1"


def allowed_hosts(settings: Settings, port: int) -> frozenset[str]:
    """The Host headers that are answered: this machine's own names with the port, and KPI_UI_HOSTS."""
    return frozenset([*(f"{name}:{port}" for name in (LOOPBACK, "localhost", "[::1]")), *settings.ui_host_names])


def cookie_name(port: int) -> str:
    """Cookies do not tell ports apart, so that two homes on one machine need two names."""
    return f"kpi_ui_{port}"


def make_token(settings: Settings) -> str | None:
    """The token for a web UI that is about to start; the same at each start of a home. None: it asks for none."""
    if settings.ui_token is None:
        path = _token_file(settings.home)
        if not _is_private(path) or not path.read_text():
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            replace(path, secrets.token_urlsafe(24), 0o600)
    return token_of(settings)


def token_of(settings: Settings) -> str | None:
    """The token of the web UI of these settings; None where it asks for none.

    Raises UserError where there is neither the setting nor a file that `kpi up` made.
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
    """The address that lets a person in. It holds the token, so it is for the terminal and for no message or log."""
    return f"{address}/?token={quote(token)}" if token else address


def _token_file(home: Path) -> Path:
    return home.resolve() / "run" / "ui_token"


def _is_private(path: Path) -> bool:
    """Whether it is there and nobody else could read it; what others could read is made anew."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077
