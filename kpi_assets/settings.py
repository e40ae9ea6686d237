"""Every setting of kpi_assets, read from the environment once per process; docs/reference/settings.md shows this class.

A setting may be in a file of its name in the folder KPI_SECRETS_DIR instead, so that a password need not be in the
environment, which other programs and people can list. The environment takes precedence over the file.

Belongs here: names, types, defaults and meanings. Not here: the options of embedded servers (embedded/), and AWS's own
variables (credentials, region), which boto3 reads itself.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from kpi_assets import lake_places, spark_address, urls
from kpi_assets.errors import UsageError
from kpi_assets.lake_places import BUCKET_NAME
from kpi_assets.scrub import keep_secret

LEAST_RATE = 64 << 10
SERVE_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}:[0-9a-f]{64}", re.ASCII)  # the name and the hash of a key of `kpi serve`
AWS_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
AZURE_SECRETS = (
    *(f"AZURE_STORAGE_{name}" for name in ("ACCOUNT_KEY", "ACCESS_KEY", "MASTER_KEY", "SAS_KEY", "SAS_TOKEN", "TOKEN")),
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CLIENT_SECRET",
)
PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent
PROJECT_FILES = "sql/*/pipeline.yaml"  # what makes a folder a project

_WHOLE = "write a whole number, in digits only"
# Pydantic's type of error -> what to write; the names in braces are pydantic's.
_SENTENCES: Mapping[str, str] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("bool_type", "bool_parsing"), "write true or false"),
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
    "literal_error": "write {expected}",
    "string_type": "write a text, in double quotes",
    "dict_type": 'write a JSON object: {{"name": value}}',
    **dict.fromkeys(("path_type", "path_not_file"), "write the path of a folder"),
}


def default_sql_dir() -> Path:
    """Return the `sql/` tree of this checkout or, in an installed wheel, the copy in the package."""
    return CHECKOUT / "sql" if any(CHECKOUT.glob(PROJECT_FILES)) else PACKAGE / "shipped_sql"


def project() -> Path | None:
    """Return the nearest project from the current folder upwards: a folder with `sql/<pipeline>/pipeline.yaml`."""
    here = _here()
    above = (here, *here.parents) if here else ()
    return next((folder for folder in above if any(folder.glob(PROJECT_FILES))), None)


def _here() -> Path | None:
    """Return the current folder, or None if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _project_home() -> Path:
    found = project()
    if found is None:
        raise UsageError(
            f"Neither {_here() or 'the current folder'} nor a folder above it is a project, which holds "
            "sql/<pipeline>/pipeline.yaml: go into one, or set KPI_HOME to the folder that data, credentials and logs "
            "are to lie in."
        )
    return found / ".kpi"


def _project_sql_dir() -> Path:
    found = project()
    return found / "sql" if found else default_sql_dir()


def cores() -> int:
    """Return the number of cores that this process may use, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


def _is_api_address(value: str) -> str:
    if not is_plain_address(value):
        raise ValueError("write http://host:port or https://host/path, without a user, a password or a query")
    return value


ApiAddress = Annotated[str, AfterValidator(_is_api_address)]
_NESTED = ("api_urls", "api_secrets")  # settings of which each value has a variable of its own


class Settings(BaseSettings):
    """The settings from the environment; the name of each is `KPI_` and the name of the field in capitals."""

    model_config = SettingsConfigDict(env_prefix="KPI_", env_nested_delimiter="__", extra="ignore")

    home: Path = Field(
        default_factory=_project_home,
        description="The folder for data, credentials and logs of the embedded servers, and for the Dagster instance. "
        "Two homes do not disturb each other. Not set: the folder `.kpi` of the project, which is the nearest folder "
        "upwards that holds `sql/<pipeline>/pipeline.yaml`.",
    )
    sql_dir: Path = Field(
        default_factory=_project_sql_dir,
        description="The tree of pipelines: one folder for each pipeline, one .sql file for each asset. Not set: the "
        "folder `sql` of the project; outside of a project, the tree that is shipped.",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="A folder of files that hold one setting each, such as `kpi_postgres_url`. In Docker it is "
        "`/run/secrets`.",
    )
    postgres_url: SecretStr | None = Field(
        default=None,
        description="The warehouse server, `postgresql://user:password@host:port/database`, PostgreSQL 15 or later. "
        "Each pipeline has a database of its own there. Not set: the embedded server.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        default=None,
        description="The database of the Dagster instance. Not set: the database `dagster` on the warehouse server.",
    )
    admin_postgres_url: SecretStr | None = Field(
        default=None,
        description="A login that may create roles and databases. Only `kpi bootstrap` uses it.",
    )
    lake_url: str | None = Field(
        default=None,
        description="Where the objects of every pipeline are: `s3://bucket`, `az://account/container`, or "
        "`file:///folder` on this machine. Not set: `KPI_S3_BUCKET`, or else what `pipeline.yaml` names.",
    )
    lake_urls: dict[str, str] = Field(
        default_factory=dict,
        description="The same for one pipeline, as in `KPI_LAKE_URLS__INSTACART=az://account/container`. It counts "
        "before all other settings of a place.",
    )
    s3_bucket: str | None = Field(
        default=None,
        description="The bucket of every pipeline. Not set: the bucket that `pipeline.yaml` names, on the embedded S3 "
        "unless an endpoint is set.",
    )
    s3_buckets: dict[str, str] = Field(
        default_factory=dict,
        description="The bucket of one pipeline, as in `KPI_S3_BUCKETS__INSTACART=name`. It counts before "
        "`KPI_S3_BUCKET`.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="An S3-compatible store other than AWS, without credentials in the address. Not set while a "
        "bucket is set: AWS.",
    )
    azure_endpoint_url: str | None = Field(
        default=None,
        description="A store other than Azure that speaks as its Blob Storage does, such as Azurite, without the "
        "account and without credentials. Not set: `https://<account>.blob.core.windows.net`.",
    )
    s3_program: Path | None = Field(
        default=None,
        description="The file `weed` of SeaweedFS that the embedded S3 runs, instead of the one that is installed with "
        "kpi_assets: for a program that you have built or examined yourself, of the version that kpi_assets pins.",
    )
    broker_program: Path | None = Field(
        default=None,
        description="The file `tansu` of Tansu that the embedded broker runs, instead of the one that is installed "
        "with kpi_assets: for a program that you have built or examined yourself, of the version that kpi_assets pins.",
    )
    stream_url: str | None = Field(
        default=None,
        description="The broker of the streams, without credentials in the address: `kafka://host:9092`, "
        "`kafka+ssl://host:9093` over TLS, several brokers by commas, or `kinesis://region`. Azure Event Hubs is "
        "`kafka+ssl://NAMESPACE.servicebus.windows.net:9093`. Kinesis takes the credentials of AWS. Not set: the "
        "embedded broker, if S3 is the embedded one too.",
    )
    stream_user: str | None = Field(
        default=None,
        description="The user to log in to a broker of Kafka's protocol with. That of Azure Event Hubs is "
        "`$ConnectionString`. Not set: no login.",
    )
    stream_sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN",
        description="How the login is done: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`. `PLAIN` sends the password, "
        "and so over TLS only. Amazon MSK uses `SCRAM-SHA-512`.",
    )
    stream_ca: Path | None = Field(
        default=None,
        description="A file of certificates, in PEM, by which to know the broker. Not set: those of the system.",
    )
    # Declared after the others, because its validator needs them.
    stream_password: SecretStr | None = Field(
        default=None,
        validate_default=True,  # half a login is refused
        description="The password of that user. That of Azure Event Hubs is the connection string, as its page shows "
        "it.",
    )
    spark_plain_text: bool = Field(
        default=False,
        description="Whether rows and statements may go to Spark Connect on another machine without TLS, because the "
        "network between is private. A token never does.",
    )
    # Both are declared after the setting that their validators need.
    spark_url: SecretStr | None = Field(
        default=None,
        description="Spark Connect, for the tables with `storage: lake`: `sc://host:port`, with `/;use_ssl=true` "
        "behind it where the server has TLS, and further `;name=value` where it wants them. Without a token, which is "
        "`KPI_SPARK_TOKEN`. Not set: no table of a lake can be built.",
    )
    spark_token: SecretStr | None = Field(
        default=None,
        description="The token that Spark Connect asks for. It is sent over TLS only, or to `localhost`. Not set: no "
        "login.",
    )
    api_urls: dict[str, dict[str, ApiAddress]] = Field(
        default_factory=dict,
        description="The address of one API of a pipeline, as in `KPI_API_URLS__RETAIL__RETAILER_1=https://host/path`. "
        "It counts before `apis` of pipeline.yaml.",
    )
    api_secrets: dict[str, dict[str, SecretStr]] = Field(
        default_factory=dict,
        description="A secret that `apis` of pipeline.yaml names, as in `KPI_API_SECRETS__RETAIL__RETAILER_1`. The "
        'file `kpi_api_secrets` holds all of them: `{"retail": {"retailer_1": "..."}}`.',
    )
    erasure_salt: SecretStr | None = Field(
        default=None,
        description="The secret that is hashed with the keys of erased persons: 32 characters or more. It must stay as "
        "it was when the first person was erased, wherever the pipelines are loaded. Not set: the embedded server has "
        "one of its own.",
    )
    s3_least_rate: int = Field(
        default=LEAST_RATE,
        ge=1,
        description="The slowest accepted rate in bytes a second, measured over at least 10 s. A slower part of an "
        "object is requested again.",
    )
    writers: int = Field(
        default_factory=cores,
        ge=1,
        le=32,
        description="How many sessions fill one large table at once. Not set: the cores of this machine, at most 8. "
        "With a server of your own, set it to the cores of the server.",
    )
    min_rows: dict[str, int] = Field(
        default_factory=dict,
        description="The fewest rows of tables in this environment, instead of `at_least` in their headers: "
        '`{"instacart.raw.orders": 3000000}`.',
    )
    run_history_days: int = Field(
        default=180,
        ge=0,
        le=36_500,
        description="For how many days Dagster keeps runs and their events. The job `run_history` deletes older ones "
        "at 04:00 UTC, but not those that hold the latest build of a load_date. 0 keeps all.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        description="Where people reach the web UI: the links in alerts begin with it.",
    )
    ui_hosts: str = Field(
        default="",
        description="Further host names under which people reach the web UI, separated by commas, such as "
        "`dagster.example.com, 10.0.0.5:3000`.",
    )
    ui_token: SecretStr | None = Field(
        default=None,
        description="The token that lets people into the web UI: 16 to 256 letters, digits, `-` and `_`. Not set: "
        "`kpi up` makes one. Empty: no token is asked for, because a proxy in front asks who comes.",
    )
    serve_port: int = Field(
        default=8000,
        ge=1,
        le=65535,
        description="The port of `kpi serve`: the pages and the API for those who read the KPIs. Under `kpi up` the "
        "next free port is taken if the setting is not made.",
    )
    serve_host: str = Field(
        default="127.0.0.1",
        description="The address that `kpi serve` listens on, such as `0.0.0.0`. Any other than a loopback address "
        "needs `KPI_SERVE_KEYS` or `KPI_SERVE_PROXY_HEADER`.",
    )
    serve_url: str | None = Field(
        default=None,
        description="Where people reach `kpi serve`: the links in alerts and in Dagster begin with it, and the "
        "server answers to its host name. `kpi up` sets it for what it starts.",
    )
    serve_keys: SecretStr | None = Field(
        default=None,
        description="Who may read: `name:hash`, separated by commas or line ends, as `kpi serve --new-key NAME` prints "
        "it. The server keeps no key, only its hash.",
    )
    serve_proxy_header: str | None = Field(
        default=None,
        description="The header in which a proxy in front of `kpi serve` names the person whom it let in, such as "
        "`X-Forwarded-Email`. It counts from `KPI_SERVE_PROXY_ADDRESSES` only.",
    )
    serve_proxy_addresses: str = Field(
        default="",
        description="The addresses or networks of that proxy, separated by commas, such as `10.0.0.5, 10.1.0.0/16`.",
    )
    serve_origins: str = Field(
        default="",
        description="The origins of web pages that may read the API of `kpi serve`, separated by commas, such as "
        "`https://wiki.example.com`. Not set: none.",
    )
    serve_embed: str = Field(
        default="",
        description="The origins of web pages that may show `/embed/` in a frame, separated by commas. Not set: none. "
        "As an image, a page shows it without being listed here.",
    )
    serve_postgres_url: SecretStr | None = Field(
        default=None,
        description="The warehouse server with a login for `kpi serve`, which needs to be a member of kpi_reader only. "
        "Not set: `KPI_POSTGRES_URL`, whose login then acts as kpi_reader.",
    )
    alert_log: bool = Field(
        default=True,
        description="Whether alerts are lines in the log of the process that delivers them: the daemon, or a command.",
    )
    alert_slack_url: SecretStr | None = Field(
        default=None,
        description="A Slack incoming webhook that alerts are posted to.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None,
        description="A URL that alerts are posted to as JSON; the [guide to alerts](../guides/alerts.md) lists the "
        "fields.",
    )
    alert_email_from: str | None = Field(
        default=None,
        description="The sender of the mails.",
    )
    alert_email_to: str | None = Field(
        default=None,
        description="The recipients of the mails, separated by commas.",
    )
    # Declared after the addresses, because its validator needs them.
    alert_smtp_url: SecretStr | None = Field(
        default=None,
        description="A mail server that alerts are sent through: `smtp://user:password@host:587`, or `smtps://`. A "
        "password is sent over TLS only.",
    )

    @field_validator("home", "sql_dir", "secrets_dir", "s3_program", "broker_program", mode="before")
    @classmethod
    def _is_named(cls, value: object, field: ValidationInfo) -> object:
        """Refuse an empty text, which Python would read as the current folder."""
        kind = "file" if (field.field_name or "").endswith("_program") else "folder"
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"it is empty: name a {kind}, or leave the setting out")
        return value

    @field_validator("home", "sql_dir")
    @classmethod
    def _is_the_same_from_everywhere(cls, value: Path, field: ValidationInfo) -> Path:
        value = value.expanduser()
        return value.resolve() if field.field_name == "home" else value.absolute()

    @field_validator("s3_program", "broker_program")
    @classmethod
    def _is_a_program(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("ui_url", "serve_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not is_plain_address(value):
            raise ValueError("write http://host:port or https://host, without a user, a password or a query")
        return value and value.rstrip("/")

    @field_validator("serve_host")
    @classmethod
    def _is_an_interface(cls, value: str) -> str:
        try:
            return str(ip_address("127.0.0.1" if value == "localhost" else value))
        except ValueError:
            raise ValueError("write the address of one network interface, such as 127.0.0.1 or 0.0.0.0") from None

    @field_validator("serve_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what is no list of names and hashes. The error quotes nothing, as somebody may have written a key."""
        if value is not None:
            lines = [line for line in re.split(r"[\s,]+", value.get_secret_value()) if line]
            if not lines or not all(SERVE_KEY.fullmatch(line) for line in lines):
                raise ValueError("write name:hash for each key, as `kpi serve --new-key NAME` prints it")
            if len({line.partition(":")[0] for line in lines}) < len(lines):
                raise ValueError("it has two keys of one name: name each key differently")
        return value

    @field_validator("serve_proxy_header")
    @classmethod
    def _is_a_header(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
            raise ValueError("write the name of one header, such as X-Forwarded-Email")
        return value

    @field_validator("serve_proxy_addresses")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        try:
            networks = [str(ip_network(name.strip())) for name in value.split(",")] if value.strip() else []
        except ValueError:
            raise ValueError("write addresses or networks by commas, as in 10.0.0.5, 10.1.0.0/16") from None
        return ",".join(networks)

    @field_validator("serve_origins", "serve_embed")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",")] if value.strip() else []
        if not all(re.fullmatch(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", name) for name in names):
            raise ValueError("write origins by commas, as in https://wiki.example.com, without a path")
        return ",".join(names)

    @field_validator("s3_endpoint_url")
    @classmethod
    def _is_an_endpoint(cls, value: str | None) -> str | None:
        if value is not None and not is_plain_address(value):
            raise ValueError(
                "write http://host:port or https://host, without a user, a password or a query: the store's keys are "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return value

    @field_validator("azure_endpoint_url")
    @classmethod
    def _is_an_endpoint_of_azure(cls, value: str | None) -> str | None:
        if value is not None and not is_plain_address(value):
            raise ValueError(
                "write http://host:port or https://host, without a user, a password or a query: the store's key is "
                "AZURE_STORAGE_ACCOUNT_KEY"
            )
        return value and value.rstrip("/")

    @field_validator("lake_url", "lake_urls")
    @classmethod
    def _are_places(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        """Refuse what is no address of objects. The error quotes nothing, as somebody may have written a key."""
        places = value.values() if isinstance(value, dict) else [] if value is None else [value]
        if not all("://" in place and lake_places.parse(place) for place in places):
            raise ValueError(lake_places.FORMS)
        return value

    @field_validator("stream_url")
    @classmethod
    def _is_a_broker(cls, value: str | None) -> str | None:
        if value is not None and not is_broker(value):
            raise ValueError(
                "write kafka://host:9092, kafka+ssl://host:9093 or kinesis://region, without a user or a password: the "
                "login is KPI_STREAM_USER and KPI_STREAM_PASSWORD"
            )
        return value

    @field_validator("stream_ca")
    @classmethod
    def _is_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("stream_password")
    @classmethod
    def _can_log_in(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        """Refuse half a login, and one whose password would cross a network in the clear. An empty password is none."""
        value = value if value and value.get_secret_value() else None
        if (value is None) != (others.data.get("stream_user") is None):
            raise ValueError("set both KPI_STREAM_USER and KPI_STREAM_PASSWORD, or neither")
        url = others.data.get("stream_url") or ""
        if value is not None and others.data.get("stream_sasl") == "PLAIN" and not _is_private(url):
            raise ValueError(
                "PLAIN would send it in the clear: write kafka+ssl:// in KPI_STREAM_URL, or set KPI_STREAM_SASL to "
                "SCRAM-SHA-512"
            )
        return value

    @field_validator("spark_url")
    @classmethod
    def _is_spark(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        """Refuse what is no address, or one where a network could read along. The error quotes nothing."""
        if value is None:
            return None
        text = value.get_secret_value()
        if found := spark_address.problem(text):
            raise ValueError(found)
        address, may = spark_address.parse(text), bool(others.data.get("spark_plain_text"))
        if address and (found := spark_address.login_problem(address, has_token=False, may_be_plain=may)):
            raise ValueError(found)
        return value

    @field_validator("spark_token")
    @classmethod
    def _reaches_spark_only(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        """Refuse a token that others could read on its way. An empty one is none."""
        value = value if value and value.get_secret_value().strip() else None
        url = others.data.get("spark_url")
        address = spark_address.parse(url.get_secret_value()) if url else None
        if value and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("it has a blank or a letter that no header can hold: write the token alone")
        if value and address and (found := spark_address.login_problem(address, has_token=True, may_be_plain=True)):
            raise ValueError(found)
        return value

    @field_validator("api_secrets")
    @classmethod
    def _are_texts(cls, value: dict[str, dict[str, SecretStr]]) -> dict[str, dict[str, SecretStr]]:
        """Refuse what no request could hold. The error quotes nothing."""
        for name, secret in ((name, each) for secrets in value.values() for name, each in secrets.items()):
            if re.search("[\ud800-\udfff]", secret.get_secret_value()):
                raise ValueError(f"the secret {name} has a byte that is no UTF-8: write it as text")
        return value

    @field_validator("erasure_salt")
    @classmethod
    def _is_a_salt(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < 32:
            raise ValueError("write 32 characters or more, such as `openssl rand -hex 32` prints them")
        return value

    @field_validator("s3_bucket", "s3_buckets")
    @classmethod
    def _are_names(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        names = value.values() if isinstance(value, dict) else [value or "unset"]
        if not all(BUCKET_NAME.fullmatch(name) for name in names):
            raise ValueError(
                "write the name alone: letters, digits, dots, dashes and underscores, or the ARN of an access point"
            )
        return value

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
        """Allow only characters that are the same in a URL, a cookie and a header. The error quotes nothing."""
        if value is not None and not re.fullmatch(r"|[A-Za-z0-9_-]{16,256}", value.get_secret_value()):
            raise ValueError("write 16 to 256 letters, digits, - and _, or nothing where a proxy asks who comes")
        return value

    @field_validator("alert_slack_url", "alert_webhook_url")
    @classmethod
    def _is_a_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            found = urls.parse(value.get_secret_value(), "http", "https")
            if found is None or not found.hosts or found.user is not None:
                raise ValueError(
                    "write https://host/path, without a user or password before the host, and with an @ or what a URL "
                    "cannot hold percent-encoded (%40)"
                )
        return value

    @field_validator("alert_smtp_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        found = urls.parse(value.get_secret_value(), "smtp", "smtps")
        if found is None or not found.hosts or "," in found.hosts or found.path.strip("/") or found.query:
            raise ValueError(
                "write smtp://user:password@host:port or smtps://..., with what is not a letter or digit in the "
                "password percent-encoded"
            )
        if not (others.data.get("alert_email_from") and others.data.get("alert_email_to")):
            raise ValueError("set KPI_ALERT_EMAIL_FROM and KPI_ALERT_EMAIL_TO too")
        return value

    @field_validator("alert_email_to")
    @classmethod
    def _has_a_recipient(cls, value: str | None) -> str | None:
        if value and not any(name.strip() for name in value.split(",")):
            raise ValueError("it names no recipient: write one or more addresses, by commas")
        return value

    @field_validator("secrets_dir")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    @field_validator("postgres_url", "dagster_postgres_url", "admin_postgres_url", "serve_postgres_url")
    @classmethod
    def _is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what is not a URL. The error does not quote the URL, which may contain the password anywhere."""
        if value is None:
            return None
        url = value.get_secret_value()
        try:
            readable = urls.parse(url, "postgresql", "postgres") is not None and bool(conninfo_to_dict(url))
        except (psycopg.Error, ValueError):  # an option that libpq does not know; bytes that are not text
            readable = False
        if not readable:
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
    def serve_key_hashes(self) -> dict[str, str]:
        """The keys of KPI_SERVE_KEYS: the hash of each, by its name."""
        lines = re.split(r"[\s,]+", self.serve_keys.get_secret_value()) if self.serve_keys else []
        return dict(line.split(":", 1) for line in lines if line)

    @property
    def embedded_postgres(self) -> bool:
        """Whether the environment names no warehouse server, so that the embedded one is used."""
        return self.postgres_url is None

    @property
    def embedded_s3(self) -> bool:
        """Whether the environment names neither a place of objects nor an endpoint: the embedded store is used."""
        named = self.lake_url or self.lake_urls or self.s3_bucket or self.s3_buckets
        return not named and self.s3_endpoint_url is None

    @property
    def may_use_s3(self) -> bool:
        """Whether some pipeline may have its objects on S3."""
        places = [self.lake_url or "s3://", *self.lake_urls.values()]
        return bool(self.s3_buckets) or any(place.startswith("s3://") for place in places)

    @property
    def spark(self) -> spark_address.SparkAddress | None:
        """Where Spark Connect is; None if the environment names none."""
        return spark_address.parse(self.spark_url.get_secret_value()) if self.spark_url else None

    @property
    def embedded_broker(self) -> bool:
        """Whether the environment names no broker, so that the embedded one is used, on the embedded S3."""
        return self.stream_url is None and self.embedded_s3

    def secrets(self) -> Iterator[str]:
        """Yield every part of the settings that must not be shown."""
        servers = (self.postgres_url, self.dagster_postgres_url, self.admin_postgres_url, self.serve_postgres_url)
        for url in (*servers, self.alert_smtp_url):
            if url and (found := urls.parse(url.get_secret_value(), "postgresql", "postgres", "smtp", "smtps")):
                yield from found.secrets()
        for url in (self.alert_slack_url, self.alert_webhook_url):
            if url and (found := urls.parse(url.get_secret_value(), "http", "https")):
                yield from found.capability()
        if self.stream_password:
            yield self.stream_password.get_secret_value()
            yield from re.findall(r"SharedAccessKey=([^;]+)", self.stream_password.get_secret_value())
        for of_pipeline in self.api_secrets.values():
            yield from (secret.get_secret_value() for secret in of_pipeline.values())
        if self.spark_token:
            yield self.spark_token.get_secret_value()
        if self.erasure_salt:
            yield self.erasure_salt.get_secret_value()
        yield from self.serve_key_hashes.values()


def is_broker(text: str) -> bool:
    """Whether a text names the brokers of Kafka's protocol or a region of Kinesis, and nothing else."""
    found = urls.parse(text, "kafka", "kafka+ssl", "kinesis")
    if found is None or (found.user, found.path, found.query) != (None, "", None):
        return False
    if found.scheme == "kinesis":
        return re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", found.hosts) is not None
    return all(host.partition(":")[0] for host in found.hosts.split(","))


def _is_private(broker: str) -> bool:
    """Whether nobody on a network can read what is sent to a broker: over TLS, or within this machine."""
    hosts = broker.removeprefix("kafka://").split(",")
    return broker.startswith("kafka+ssl://") or all(
        re.fullmatch(r"(127\.0\.0\.1|localhost)(:[0-9]+)?", h) for h in hosts
    )


def is_plain_address(text: str) -> bool:
    """Whether a text is the URL of one server, without a part that could contain a secret."""
    found = urls.parse(text, "http", "https")
    return (
        found is not None
        and bool(found.hosts)
        and not set(found.hosts + found.path) & {",", "@"}
        and (found.user, found.query) == (None, None)
    )


def _bad_secret(folder: Path) -> tuple[str, str] | None:
    """Return (setting, reason) of the first file of secrets that pydantic would ignore with a warning, or None."""
    names = {f"kpi_{name}": name for name in Settings.model_fields}
    try:
        inside = folder.resolve()
        for path in sorted(folder.iterdir()):
            name = names.get(path.name.lower())
            if name and not path.is_file():
                return name, f"{path} is not a regular file: put one in its place"
            if name and inside not in path.resolve().parents:
                return name, f"{path} is a link out of that folder: put the file itself there"
    except (OSError, RuntimeError):  # pydantic reports what cannot be read; a link to itself is not a regular file
        return None
    return None


@cache
def settings() -> Settings:
    """Return the settings of this process; `settings.cache_clear()` makes it read the environment again."""
    folder = os.environ.get("KPI_SECRETS_DIR", "").strip()
    try:
        if folder and (bad := _bad_secret(Path(folder).expanduser())):
            raise _refusal(*bad)
        found = Settings(_secrets_dir=folder if folder and Path(folder).expanduser().is_dir() else None)
    except ValidationError as error:
        first = error.errors()[0]
        name, *below = map(str, first["loc"])
        if name in _NESTED and below:  # each has a variable of its own
            name, below = "__".join([name, *below]), []
        ours = _SENTENCES.get(first["type"], "").format(**first.get("ctx", {}))
        reason = ": ".join([*below, ours or first["msg"].removeprefix("Value error, ")])
    except SettingsError as error:
        refused = error.__cause__
        name = str(error).split('"')[1]
        if isinstance(refused, OSError):
            reason = f"{refused.strerror}: {refused.filename}"
        else:
            reason = "it is not UTF-8 text" if isinstance(refused, UnicodeDecodeError) else "it must be JSON"
    else:
        keep_secret([*found.secrets(), *(os.environ.get(name, "") for name in AWS_SECRETS + AZURE_SECRETS)])
        return found
    raise _refusal(name, reason)


def _refusal(name: str, reason: str) -> UsageError:
    has_files = os.environ.get("KPI_SECRETS_DIR", "").strip()
    where = "environment or its file in KPI_SECRETS_DIR" if has_files else "environment"
    return UsageError(f"The setting KPI_{name.upper()} cannot be read ({reason}): correct it in the {where}.")
