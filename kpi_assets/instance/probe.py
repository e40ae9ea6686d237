"""What we ask the web UI over HTTP ourselves: whether it answers behind its guard, and to load the definitions again.

`python -m kpi_assets.instance.probe URL` is the health check of the image: it ends with 0 only for a guarded web UI.
No request here goes through a proxy of the environment, since it may hold the token.
"""

import json
import sys
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.error import HTTPError

from kpi_assets.errors import UserError

FOREIGN = "self-test.invalid"  # a host name that nobody has
REFUSED = 421  # what the guard answers to it
SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check(address: str) -> None:
    """Ask once as ourselves and once under a foreign host name, which the guard alone refuses.

    Raises OSError while the web UI does not answer, and UserError where it answers without the guard.
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
        f"The web UI at {address} answers to any host name, so the guard of kpi_assets does not stand before it "
        "and any web page could use it: install the versions that kpi_assets pins (`make setup`), then start it again."
    )


def reload(address: str, token: str | None, seconds: float) -> None:
    """What the button in the UI does that loads all definitions again. Raises OSError where it does not answer."""
    body = json.dumps({"query": "mutation { reloadWorkspace { __typename } }"}).encode()
    headers = {"Content-Type": "application/json", **bearer(token)}
    request = urllib.request.Request(f"{address}/graphql", body, headers)  # noqa: S310  our own address
    with _direct.open(request, timeout=seconds):
        pass


def bearer(token: str | None) -> dict[str, str]:
    """The header that lets a program in."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ask(address: str, **headers: str) -> HTTPResponse:
    request = urllib.request.Request(f"{address}/server_info", headers=headers)  # noqa: S310  our own address
    return cast("HTTPResponse", _direct.open(request, timeout=SECONDS))


def main() -> None:
    """Exit with a sentence where the web UI does not answer or has no guard."""
    try:
        check(sys.argv[1])
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
