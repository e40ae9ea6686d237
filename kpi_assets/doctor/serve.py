"""`kpi serve`: who may read through it, and with which rights it reads.

Not here: whether it runs, which `kpi status` says.
"""

from collections.abc import Iterator

from kpi_assets.doctor.finding import Finding, advice, broken, errors_as_findings, ok
from kpi_assets.instance import access
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import connect, may_act_as, own_database
from kpi_assets.warehouse.provision import READER

SUBJECT = "serve"


def serve(settings: Settings) -> Iterator[Finding]:
    """Examine the settings of `kpi serve`, and its login."""
    yield from errors_as_findings(SUBJECT, lambda: _examine(settings))


def _examine(settings: Settings) -> Iterator[Finding]:
    access.check_readers(settings)
    place = f"{settings.serve_host}, port {settings.serve_port}"
    keys = len(settings.serve_key_hashes)
    if keys:
        yield ok(SUBJECT, f"it listens on {place}, and answers to {keys} {'key' if keys == 1 else 'keys'}")
    elif settings.serve_proxy_header:
        yield ok(SUBJECT, f"it listens on {place}, and answers to those whom {settings.serve_proxy_addresses} lets in")
    else:
        yield ok(SUBJECT, f"it listens on {place}, and answers to everybody on this machine")
    if not access.is_loopback(settings.serve_host) and settings.serve_url is None:
        yield advice(
            SUBJECT, "links in alerts lead to this machine only: set KPI_SERVE_URL to the address that people use"
        )
    server = settings.serve_postgres_url or settings.postgres_url
    name = "KPI_SERVE_POSTGRES_URL" if settings.serve_postgres_url else "KPI_POSTGRES_URL"
    assert server is not None
    with connect(server, own_database(server), "doctor", read_only=True) as connection:
        has_role = connection.execute("select to_regrole(%s)", [READER]).fetchone() != (None,)
        login = connection.info.user
        if has_role and not may_act_as(connection, READER):  # the findings of the warehouse name missing roles
            grant = f'`grant {READER} to "{login}"`'
            yield broken(SUBJECT, f"the login {login} of {name} may not act as {READER}: {grant}")
