"""Holds, ops.holds: the inputs of each held build, so that it is not built again from the same inputs."""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from psycopg.types.json import Json

NOTHING: Mapping[str, int] = {}


def record(
    connection: Connection[Any],
    build_id: int,
    *,
    manifest_hash: str,
    code_version: str,
    checks_version: str = "",
    inputs: Mapping[str, int] = NOTHING,
) -> None:
    """Record the inputs of a build that is about to be closed as held; `inputs` as in publishes.record."""
    connection.execute(
        "insert into ops.holds (build_id, manifest_hash, code_version, checks_version, inputs) "
        "values (%s, %s, %s, %s, %s)",
        [
            build_id,
            manifest_hash,
            code_version,
            checks_version,
            Json(dict(inputs)),
        ],
    )
