"""Every setting of kpi_assets, read from the environment once per process: the README's table is this class.

A setting may lie in a file instead, named after it, in the folder KPI_SECRETS_DIR: so a password need not be in the
environment, which other programs and people can list. The environment goes before the file.

Belongs here: names, types, defaults and meanings. Not here: what an embedded server is started with (local/), and
AWS's own variables (credentials, region), which boto3 reads by itself.
"""

import os
import re
import sysconfig
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from kpi_assets.errors import UsageError

LEAST_RATE = 64 << 10
CHECKOUT = Path(__file__).resolve().parent.parent


def default_sql_dir() -> Path:
    """The `sql/` tree of this checkout or, in an installed wheel, the one that setup.py put beside the code."""
    if (CHECKOUT / "sql").is_dir():
        return CHECKOUT / "sql"
    return Path(sysconfig.get_path("data")) / "share" / "kpi_assets" / "sql"


def cores() -> int:
    """The cores that this process may use, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


class Settings(BaseSettings):
    """The environment's settings; each name is the field's in capitals, after `KPI_`."""

    model_config = SettingsConfigDict(env_prefix="KPI_", env_nested_delimiter="__", extra="ignore")

    home: Path = Field(
        default=Path(".kpi"),
        description="Folder of the embedded servers' data, credentials and logs, and of the Dagster instance.",
    )
    sql_dir: Path = Field(
        default_factory=default_sql_dir,
        description="The tree of pipelines: one folder a pipeline, one .sql file an asset.",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Folder of files that hold a setting each, such as kpi_postgres_url: Docker's /run/secrets.",
    )
    postgres_url: SecretStr | None = Field(
        default=None,
        description="Warehouse server: postgresql://user:password@host:port/database. Not set: the embedded one.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        default=None,
        description="Database of the Dagster instance. Not set: the database `dagster` on the warehouse server.",
    )
    admin_postgres_url: SecretStr | None = Field(
        default=None,
        description="A login that may create roles and databases: only `kpi bootstrap` uses it.",
    )
    s3_bucket: str | None = Field(
        default=None,
        description="Bucket of every pipeline. Not set: the bucket that pipeline.yaml names, on the embedded S3.",
    )
    s3_buckets: dict[str, str] = Field(
        default_factory=dict,
        description="Bucket of one pipeline, as KPI_S3_BUCKETS__INSTACART=name; goes before KPI_S3_BUCKET.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="An S3-compatible store other than AWS. Not set, while a bucket is: AWS.",
    )
    s3_least_rate: int = Field(
        default=LEAST_RATE,
        ge=1,
        description="Bytes a second, over 10 s at least, below which a part of an object is asked for again.",
    )
    writers: int = Field(
        default_factory=cores,
        ge=1,
        le=32,
        description="Sessions that fill one large table at once. Not set: the cores of this machine, at most 8.",
    )
    min_rows: dict[str, int] = Field(
        default_factory=dict,
        description='Minimum rows of tables here, instead of their headers\': {"instacart.raw.orders": 3000000}.',
    )
    run_history_days: int = Field(
        default=180,
        ge=0,
        le=36_500,
        description="Days for which Dagster keeps runs that are superseded, and their events; 0 keeps all.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        description="Where people reach the Dagster web UI: what the links in alerts begin with.",
    )
    ui_hosts: str = Field(
        default="",
        description="Host names, by commas, under which people reach the web UI besides this machine's own.",
    )
    ui_token: SecretStr | None = Field(
        default=None,
        description="What lets people into the web UI. Not set: `kpi up` makes one. Empty: a proxy asks who comes.",
    )
    alert_log: bool = Field(
        default=True,
        description="Alerts are lines in the log of whoever delivers them: the daemon, or a command.",
    )
    alert_slack_url: SecretStr | None = Field(
        default=None,
        description="A Slack incoming webhook that alerts are posted to.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None,
        description="A URL that alerts are posted to as JSON.",
    )
    alert_email_from: str | None = Field(
        default=None,
        description="Sender of the mails.",
    )
    alert_email_to: str | None = Field(
        default=None,
        description="Their recipients, by commas.",
    )
    # After the addresses: it is refused without them.
    alert_smtp_url: SecretStr | None = Field(
        default=None,
        description="A mail server that alerts are sent through: smtp://user:password@host:587, or smtps://.",
    )

    @field_validator("ui_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
            raise ValueError("write http://host:port or https://host")
        return value.rstrip("/")

    @field_validator("ui_hosts")
    @classmethod
    def _are_host_names(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",")] if value.strip() else []
        if not all(re.fullmatch(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", name) for name in names):
            raise ValueError("write names as in dagster.example.com or 10.0.0.5:3000, by commas, without http://")
        return ",".join(names)

    @field_validator("ui_token")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        """Only what is the same in a URL, a cookie and a header; what is wrong is told without a word of it."""
        if value is not None and not re.fullmatch(r"|[A-Za-z0-9_-]{16,256}", value.get_secret_value()):
            raise ValueError("write 16 to 256 letters, digits, - and _, or nothing where a proxy asks who comes")
        return value

    @field_validator("alert_slack_url", "alert_webhook_url")
    @classmethod
    def _is_a_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _has(value, {"http", "https"}, user=False):
            raise ValueError("write https://host/path, without a user or password before the host")
        return value

    @field_validator("alert_smtp_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        if not _has(value, {"smtp", "smtps"}, user=True):
            raise ValueError(
                "write smtp://user:password@host:port or smtps://..., with what is not a letter or digit in the "
                "password percent-encoded"
            )
        if not (others.data.get("alert_email_from") and others.data.get("alert_email_to")):
            raise ValueError("set KPI_ALERT_EMAIL_FROM and KPI_ALERT_EMAIL_TO too")
        return value

    @field_validator("secrets_dir")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    @field_validator("postgres_url", "dagster_postgres_url", "admin_postgres_url")
    @classmethod
    def _is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        """What is wrong is told without a word of the URL, which may hold the password anywhere."""
        if value is None:
            return None
        url = value.get_secret_value()
        try:
            host = conninfo_to_dict(url).get("host") or ""
        except psycopg.Error:
            host = "@"
        if "://" not in url or "@" in str(host):
            raise ValueError(
                "write postgresql://user:password@host:port/database, with what is not a letter or digit in the "
                "password percent-encoded"
            )
        return value

    @property
    def ui_host_names(self) -> list[str]:
        """The names in KPI_UI_HOSTS, in lower case."""
        return self.ui_hosts.split(",") if self.ui_hosts else []

    @property
    def embedded_postgres(self) -> bool:
        """Whether the environment names no warehouse server, so that the embedded one is used."""
        return self.postgres_url is None

    @property
    def embedded_s3(self) -> bool:
        """Whether the environment names neither a bucket nor an endpoint, so that the embedded store is used."""
        return self.s3_bucket is None and not self.s3_buckets and self.s3_endpoint_url is None


def _has(url: SecretStr, schemes: set[str], *, user: bool) -> bool:
    """Whether a URL has one of the schemes, a host, a port that is a number, and a user only where one may be."""
    try:
        parts = urlsplit(url.get_secret_value())
        return (
            parts.scheme in schemes
            and bool(parts.hostname)
            and (parts.port or 1) > 0
            and (user or parts.username is None)
        )
    except ValueError:
        return False


@cache
def settings() -> Settings:
    """This process's settings; `settings.cache_clear()` reads the environment again."""
    try:
        folder = os.environ.get("KPI_SECRETS_DIR")
        return Settings(_secrets_dir=folder if folder and Path(folder).is_dir() else None)
    except ValidationError as error:
        name, *below = map(str, error.errors()[0]["loc"])
        reason = ": ".join([*below, error.errors()[0]["msg"].removeprefix("Value error, ")])
    except SettingsError as error:
        refused = error.__cause__
        name = str(error).split('"')[1]
        reason = f"{refused.strerror}: {refused.filename}" if isinstance(refused, OSError) else "it must be JSON"
    where = "environment or its file in KPI_SECRETS_DIR" if "KPI_SECRETS_DIR" in os.environ else "environment"
    raise UsageError(f"The setting KPI_{name.upper()} cannot be read ({reason}): correct it in the {where}.")
