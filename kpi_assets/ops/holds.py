"""Holds, ops.holds: what each held build was made from, so that the same is not built again only to be held again."""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from psycopg.types.json import Json

from kpi_assets.model.names import Relation


def record(
    connection: Connection[Any],
    build_id: int,
    *,
    manifest_hash: str,
    code_version: str,
    checks_version: str = "",
    inputs: Mapping[Relation, int] | None = None,
) -> None:
    """Write what a build was made from that is about to be closed as held; `inputs` are publish_ids."""
    connection.execute(
        "insert into ops.holds (build_id, manifest_hash, code_version, checks_version, inputs) "
        "values (%s, %s, %s, %s, %s)",
        [
            build_id,
            manifest_hash,
            code_version,
            checks_version,
            Json({str(relation): publish_id for relation, publish_id in (inputs or {}).items()}),
        ],
    )
