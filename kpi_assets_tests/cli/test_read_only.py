"""On a server that accepts no writes nothing is written, and commands that read work. This includes a standby.

An operator can set `default_transaction_read_only` for a role, a database or the whole server.
"""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from kpi_assets.embedded.postgres import installation
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness, Kpi
from kpi_assets_tests.cli.small import FIRST, NAME
from kpi_assets_tests.examples import few
from kpi_assets_tests.other_server import PASSWORD, Cluster

NEXT = FIRST + timedelta(days=1)
COUNTS = "select (select count(*) from ops.publishes), (select count(*) from ops.pipeline_runs)"
READS = (("show", NAME, "marts.things"), ("checks", NAME), ("status",), ("alerts", NAME), ("url", NAME), ("plan", NAME))
WRITES = (
    ("run", NAME, "--load-date", NEXT),
    ("backfill", NAME, "--from", FIRST, "--to", NEXT),
    ("recheck", NAME, "--load-date", FIRST),
    ("drop", NAME, "marts.things", "--yes"),
    ("bootstrap",),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("own") / "server", installation() / "bin") as opened:
        yield opened


@pytest.fixture(scope="module")
def own(kpi: CliHarness, server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kpi:
    """The command on its own server, where one load_date is published and the next one has landed."""
    folder = tmp_path_factory.mktemp("read_only")
    for day in (FIRST, NEXT):
        small.upload(kpi, day)
    sql = small.write_sql(folder / "sql")
    servers = {**kpi.servers, "KPI_POSTGRES_URL": server.url, "KPI_SQL_DIR": str(sql)}
    on_own_server = Kpi(folder / "home", folder, [PASSWORD], **servers)
    on_own_server("run", NAME, "--load-date", FIRST)
    return on_own_server


def counts(server: Cluster) -> tuple[int, int]:
    with psycopg.connect(server.url.replace("/postgres", f"/{NAME}")) as session:
        [(publishes, runs)] = session.execute(COUNTS.encode()).fetchall()
    return publishes, runs


def all_read(own: Kpi) -> None:
    """Check that every command that only reads prints the same as on a server that accepts writes."""
    assert own("show", NAME, "marts.things", "--format", "csv").out == "thing_id,weight\n1,20.50\n"
    for words in READS:
        assert own(*words).err == ""
    assert own("plan", NAME).line(str(NEXT)).startswith(f"{NEXT} new")


BRAKES = {
    "alter database small set default_transaction_read_only = on": (
        "small",
        "for the database",
        "`alter database small reset default_transaction_read_only`",
    ),
    "alter role kpi in database small set default_transaction_read_only = on": (
        "small",
        "for the user in this database",
        "`alter role kpi in database small reset default_transaction_read_only`",
    ),
    "alter role kpi set default_transaction_read_only = on": (
        "postgres",
        "for the user",
        "`alter role kpi reset default_transaction_read_only`",
    ),
    "alter system set default_transaction_read_only = on": (
        "postgres",
        "for the whole server",
        "turn it off in the server's settings",
    ),
}


@pytest.mark.parametrize("brake", few(1, BRAKES))
def test_default_transaction_read_only_is_respected_wherever_it_is_set(own: Kpi, server: Cluster, brake: str) -> None:
    place, (database, whose, cure) = f"127.0.0.1:{server.port}", BRAKES[brake]
    before = counts(server)
    with psycopg.connect(server.url, autocommit=True, options="-c default_transaction_read_only=off") as session:
        session.execute(brake.encode())
        session.execute("select pg_reload_conf()")
        try:
            for words in WRITES if whose == "for the database" else WRITES[:1]:
                own.fails(
                    f"The warehouse server at {place} takes no writes on database {database!r}, "
                    f"where default_transaction_read_only is on {whose}, and nothing was written: {cure} to "
                    "allow writes.",
                    *words,
                )
            assert counts(server) == before
            if whose == "for the database":
                all_read(own)
                broken = own("doctor", code=1).line("broken database small")
                assert f"The warehouse server at {place} takes no writes on database 'small', where default" in broken
            else:
                assert own(*READS[0]).line("20.50") == "1 20.50"
        finally:
            session.execute(brake.replace(" set ", " reset ").removesuffix(" = on").encode())
            session.execute("select pg_reload_conf()")


def test_default_transaction_read_only_in_the_url_is_respected(own: Kpi, server: Cluster) -> None:
    url = f"{server.url}?options=-c%20default_transaction_read_only%3Don"
    said = own(*WRITES[0], code=1, KPI_POSTGRES_URL=url)
    assert "by KPI_POSTGRES_URL or PGOPTIONS, and nothing was written: take it out of there to allow writes" in said.err


def test_commands_that_read_migrate_no_older_database(own: Kpi, server: Cluster) -> None:
    url = server.url.replace("/postgres", f"/{NAME}")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("delete from ops.migrations where version = (select max(version) from ops.migrations)")
        [(version,)] = session.execute("select max(version) from ops.migrations").fetchall()
        for words in READS[0], READS[1], READS[-1]:
            own.fails(
                f"The database 'small' is at version {version} of ops: `kpi bootstrap` brings it up to date.", *words
            )
        assert session.execute("select max(version) from ops.migrations").fetchall() == [(version,)]
        session.execute("insert into ops.migrations (version, name) values (%s, 'again')", [version + 1])


def test_commands_that_read_create_no_database(own: Kpi, server: Cluster) -> None:
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("alter database small rename to elsewhere")
        try:
            for words in READS[0], READS[-1]:
                own.fails(
                    "The database 'small' does not exist yet: `kpi bootstrap` or the first run creates it.", *words
                )
            assert session.execute("select 1 from pg_database where datname = 'small'").fetchall() == []
        finally:
            session.execute("alter database elsewhere rename to small")


@pytest.mark.nightly
def test_a_standby_is_read_and_never_written(own: Kpi, server: Cluster) -> None:
    """This is the last test of the module, because the server stays a standby."""
    before = counts(server)
    server.become_standby()
    for words in WRITES:
        own.fails(
            f"The warehouse server at 127.0.0.1:{server.port} is a standby and takes no writes: name the primary in "
            "KPI_POSTGRES_URL.",
            *words,
        )
    all_read(own)
    assert counts(server) == before
    broken = own("doctor", code=1).line("broken warehouse")
    assert broken.endswith("it is a standby and takes no writes: name the primary in KPI_POSTGRES_URL")
