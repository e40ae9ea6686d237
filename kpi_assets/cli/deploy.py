"""A deployment: `kpi bootstrap` makes the servers of one ready."""

from kpi_assets.cli.common import out
from kpi_assets.errors import UsageError
from kpi_assets.model.pipeline import load_pipelines
from kpi_assets.settings import settings


def bootstrap() -> None:
    """Make roles, databases, schemas and the ops tables ready, as KPI_ADMIN_POSTGRES_URL says; safe to repeat."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    from pydantic import SecretStr  # noqa: PLC0415

    from kpi_assets.build.prepare import prepare  # noqa: PLC0415
    from kpi_assets.instance.folder import DATABASE  # noqa: PLC0415
    from kpi_assets.local.stack import running  # noqa: PLC0415
    from kpi_assets.warehouse import bootstrap as server  # noqa: PLC0415

    if settings().admin_postgres_url and settings().embedded_postgres:
        raise UsageError(
            "KPI_ADMIN_POSTGRES_URL is set, and KPI_POSTGRES_URL is not: set it to the URL that kpi_assets is to use; "
            "its login is made if it is missing."
        )
    with running(settings()):
        config = settings()
        admin = config.admin_postgres_url or config.postgres_url
        assert admin is not None
        assert config.postgres_url is not None
        for pipeline in load_pipelines(config.sql_dir, config.min_rows).values():
            prepare(pipeline, admin, as_owner=True)
            out.print(f"[green]ready[/] database {pipeline.name}")
        if config.dagster_postgres_url is None:
            server.ensure_database(admin, DATABASE)
            out.print(f"[green]ready[/] database {DATABASE}")
        product = conninfo_to_dict(config.postgres_url.get_secret_value())
        login = str(product.get("user") or "")
        if login != conninfo_to_dict(admin.get_secret_value()).get("user"):
            password = product.get("password")
            server.ensure_login(admin, login, SecretStr(str(password)) if password else None)
            if config.dagster_postgres_url is None:
                server.ensure_use(admin, DATABASE, login)
            out.print(f"[green]ready[/] login {login}, with {' and '.join(server.MAKERS)}")
