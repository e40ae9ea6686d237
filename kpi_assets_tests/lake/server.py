"""A Spark with Iceberg for tests: its catalog in the embedded Postgres, and its files on the embedded S3.

Belongs here: the settings of a catalog, and a server of Spark Connect with a token. Not here: what is asked of them.
"""

import importlib.util
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from kpi_assets.lake.session import Engine
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.model.portable.spark_install import SPARK, jars, packages

BUCKET = "iceberg"
CATALOG = "k"
TOKEN = "a-token-of-tests"


@dataclass(frozen=True)
class LakeServer:
    """A running server of Spark Connect: its address, its token, and the Spark behind it."""

    url: SecretStr
    token: SecretStr
    spark: OnSpark

    def connect(self) -> Engine:
        """Open a session; the caller closes it."""
        return Engine.connect(self.url, self.token, timeout=60)

    def kill(self) -> None:
        """Kill the Java process of the server, as a machine that fails does."""
        for child in psutil.Process(self.spark.pid).children(recursive=True):
            child.kill()


def needed() -> None:
    """Skip a test if the jars of Iceberg cannot be had; else make the client of Spark Connect importable."""
    if not shutil.which("mvn"):
        pytest.skip("the jars of Iceberg come by Maven's client: install it (on Debian: the package maven)")
    folder = str(packages(SPARK))
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("grpc_status") is None:
        sys.path.append(folder)  # at the end, so that the packages of the checkout come first


def catalog_settings(name: str = CATALOG, endpoint: str = "") -> dict[str, str]:
    """Return the settings of a Spark that has an Iceberg catalog of this name, on the embedded servers.

    `endpoint` is another address of the same S3.
    """
    config = settings()
    assert config.postgres_url is not None
    s3, server = client(config), urlsplit(config.postgres_url.get_secret_value())
    with suppress(ClientError):  # it is there
        s3.create_bucket(Bucket=BUCKET)
    keys, address = s3._request_signer._credentials, endpoint or s3.meta.endpoint_url
    catalog = {
        "": "org.apache.iceberg.spark.SparkCatalog",
        ".type": "jdbc",
        ".uri": f"jdbc:postgresql://127.0.0.1:{server.port}/postgres",
        ".jdbc.user": server.username or "",
        ".jdbc.password": server.password or "",
        ".jdbc.schema-version": "V1",
        ".warehouse": f"s3://{BUCKET}/warehouse",
        ".io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        ".s3.endpoint": address,
        ".s3.path-style-access": "true",
        ".s3.access-key-id": keys.access_key,
        ".s3.secret-access-key": keys.secret_key,
        ".client.region": "us-east-1",
    }
    hadoop = {  # with which Spark itself reads objects
        "endpoint": address,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "access.key": keys.access_key,
        "secret.key": keys.secret_key,
        "connection.ssl.enabled": "false",
    }
    return {
        **{f"spark.hadoop.fs.s3a.{key}": value for key, value in hadoop.items()},
        "spark.jars": ",".join(map(str, jars())),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        **{f"spark.sql.catalog.{name}{key}": value for key, value in catalog.items()},
    }


def end_connections() -> None:
    """End the catalog's connections, of which each session with an engine leaves one behind until its server ends."""
    config = settings()
    assert config.postgres_url is not None
    with psycopg.connect(config.postgres_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'PostgreSQL JDBC Driver' and state = 'idle'"
        )


@contextmanager
def lake_server(more: Mapping[str, str] | None = None, *, endpoint: str = "") -> Iterator[LakeServer]:
    """Start a server on a port of its own, with more settings than it needs, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = {
        **catalog_settings(endpoint=endpoint),
        **(more or {}),
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.authenticate.token": TOKEN,
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    }
    with OnSpark.open(known) as spark:
        spark.all_rows("select 1")
        yield LakeServer(SecretStr(f"sc://localhost:{port}"), SecretStr(TOKEN), spark)
