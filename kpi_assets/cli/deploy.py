"""`kpi bootstrap` prepares the servers of a deployment, and `kpi doctor` checks that everything works."""

from collections.abc import Iterator
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from kpi_assets.cli.terminal import say, styled
from kpi_assets.cli.workspace import prepare_bucket
from kpi_assets.doctor import apis, broker, content, instance, lake, machine, serve, spark, streams, warehouse
from kpi_assets.doctor.finding import Finding, broken, errors_as_findings
from kpi_assets.embedded.stack import embedded_servers
from kpi_assets.errors import UsageError, UserError
from kpi_assets.instance.folder import DATABASE
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.warehouse import provision as server

STYLES = {"ok": "green", "advice": "yellow", "broken": "bold red"}


def bootstrap() -> None:
    """Create roles, databases, schemas and ops tables with the login of KPI_ADMIN_POSTGRES_URL; safe to repeat."""
    if settings().admin_postgres_url and settings().embedded_postgres:
        raise UsageError(
            "KPI_ADMIN_POSTGRES_URL is set, and KPI_POSTGRES_URL is not: set it to the URL that kpi_assets uses; "
            "`kpi bootstrap` creates its login if it is missing."
        )
    with embedded_servers(settings()) as servers:
        config = servers.settings
        admin = config.admin_postgres_url or servers.postgres
        for pipeline in load_pipelines(config.sql_dir, config.min_rows).values():
            prepare(pipeline, admin, as_owner=True)
            _say_ready(f"database {pipeline.name}")
        if config.dagster_postgres_url is None:
            server.ensure_database(admin, DATABASE)
            _say_ready(f"database {DATABASE}")
        product = conninfo_to_dict(servers.postgres.get_secret_value())
        login = str(product.get("user") or "")
        if login != conninfo_to_dict(admin.get_secret_value()).get("user"):
            password = product.get("password")
            server.ensure_login(admin, login, SecretStr(str(password)) if password else None, server.OF_PRODUCT)
            if config.dagster_postgres_url is None:
                server.ensure_access(admin, DATABASE, login)
            _say_ready(f"login {login}, with {', '.join(server.OF_PRODUCT)}")
        if config.serve_postgres_url:
            _ensure_reader(admin, config.serve_postgres_url)


def _ensure_reader(admin: SecretStr, url: SecretStr) -> None:
    """Create the login of `kpi serve`, which may read what readers may, and nothing else."""
    named = conninfo_to_dict(url.get_secret_value())
    login, password = str(named.get("user") or ""), named.get("password")
    server.ensure_login(admin, login, SecretStr(str(password)) if password else None, (server.READER,))
    _say_ready(f"login {login}, with {server.READER}")


def _say_ready(what: str) -> None:
    say(styled("ready", "green"), " ", what)


def doctor(
    landing: Annotated[
        bool,
        typer.Option(
            "--landing", help="Also put and remove a small object, which a user who lands files must be able to do."
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also read all published rows and their objects, and compare them with the ledger."
        ),
    ] = False,
) -> None:
    """Check servers, roles, buckets, APIs, clocks, disk, instance and rows: each line says ok, or what to do."""
    states = []
    for finding in _findings(landing=landing, deep=deep):
        states.append(finding.state)
        say(styled(f"{finding.state:7}", STYLES[finding.state]), f" {finding.subject}: {finding.text}")
    if "broken" in states:
        raise typer.Exit(1)


def _findings(*, landing: bool, deep: bool) -> Iterator["Finding"]:
    first = settings()
    yield from machine.disk(first.home, holds_data=first.embedded_postgres or first.embedded_s3)
    try:
        if first.embedded_s3:
            yield from machine.object_store(first.home, first.s3_program)
        pipelines = list(load_pipelines(first.sql_dir, first.min_rows).values())
        with embedded_servers(first, pipelines) as servers:
            config = servers.settings
            yield from warehouse.server(servers.postgres, pipelines, embedded=first.embedded_postgres, deep=deep)
            for pipeline in pipelines:
                prepare_bucket(servers.stack, pipeline)
                yield from lake.bucket(config, pipeline, landing=landing or first.embedded_s3)
                yield from apis.apis(config, pipeline)
                yield from broker.broker(config, pipeline)
                yield from streams.streams(config, pipeline, servers.postgres, deep=deep)
                if deep:
                    yield from errors_as_findings("objects", lambda of=pipeline: content.objects(config, of))  # type: ignore[misc]
            yield from spark.spark(config, pipelines)
            yield from instance.instance(config, pipelines)
            yield from serve.serve(config)
    except UserError as error:
        yield from (broken("files and embedded servers", sentence) for sentence in error.sentences)
