"""Our own HTTP requests to the web UI: check that it answers and has its guard, and reload the definitions.

`python -m kpi_assets.instance.probe URL` is the health check of the image. It exits with 0 only for a guarded web UI,
and with `--pages URL` for a `kpi serve` that answers.
The requests ignore the proxy of the environment, because they may hold the token.
"""

import json
import sys
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.error import HTTPError

from kpi_assets.errors import UserError

FOREIGN = "self-test.invalid"  # a host name that cannot exist
REFUSED = 421  # the guard's status for such a host name
SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check(address: str) -> None:
    """Send one ordinary request and one with a foreign host name, which only the guard refuses.

    Raises OSError if the web UI does not answer, and UserError if it answers without the guard.
    """
    with _ask(address):
        pass
    try:
        with _ask(address, host=FOREIGN):
            pass
    except HTTPError as refusal:
        if refusal.code == REFUSED:
            return
    raise UserError(
        f"The web UI at {address} answers to any host name, so the guard of kpi_assets is not in front of it "
        "and any web page could use it: install the versions that kpi_assets pins (`make setup`), then start it again."
    )


def check_pages(address: str) -> None:
    """Send one request to `kpi serve`. Raises OSError if it does not answer."""
    with _direct.open(f"{address}/healthz", timeout=SECONDS):
        pass


def reload(address: str, token: str | None, seconds: float) -> None:
    """Reload all definitions, as the button in the UI does. Raises OSError if the web UI does not answer."""
    body = json.dumps({"query": "mutation { reloadWorkspace { __typename } }"}).encode()
    headers = {"Content-Type": "application/json", **bearer(token)}
    request = urllib.request.Request(f"{address}/graphql", body, headers)  # noqa: S310  our own address
    with _direct.open(request, timeout=seconds):
        pass


def bearer(token: str | None) -> dict[str, str]:
    """Return the header with which a program sends the token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ask(address: str, **headers: str) -> HTTPResponse:
    request = urllib.request.Request(f"{address}/server_info", headers=headers)  # noqa: S310  our own address
    return cast("HTTPResponse", _direct.open(request, timeout=SECONDS))


def main() -> None:
    """Exit with an error message if the web UI does not answer or has no guard."""
    try:
        check_pages(sys.argv[2]) if sys.argv[1] == "--pages" else check(sys.argv[1])
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
