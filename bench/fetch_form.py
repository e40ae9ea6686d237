"""Fetches a load_date from one API with kpi_assets (`ours`), or takes its pages alone (`floor`), for `bench.apis`.

Each is a process of its own, so that its peak memory is known. Prints the seconds, those of CPU, the
records and the memory as JSON.
"""

import json
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import urllib3

from bench.load_form import peak_memory
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.fetch import fetch_object
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.api import filled
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings, settings
from kpi_assets.sources.store import open_store

DAY = date(2025, 7, 1)


def main() -> None:
    """Do what the first argument says, for the table of the second; the third is the folder for `floor`."""
    config = settings()
    pipeline = load_pipelines(config.sql_dir)["retail"]
    table = pipeline.table(sys.argv[2])
    if sys.argv[1] == "floor":
        assert table.source.api is not None
        url = config.api_urls["retail"][table.source.api]
        found = floor(url, headers_of(pipeline.config.apis[table.source.api].headers, config), table, Path(sys.argv[3]))
    else:
        assert config.postgres_url is not None
        prepare(pipeline, config.postgres_url)
        context = BuildContext(pipeline, config.postgres_url, open_store(pipeline, config), "bench")
        found = ours(context, table)
    print(json.dumps({**found, "memory_mb": peak_memory()}))


def ours(context: BuildContext, table: Table) -> dict[str, Any]:
    """Ask for all pages, prove that they are all, and land them."""
    begun, cpu = time.perf_counter(), time.process_time()
    with context.session(table, "bench") as connection:
        outcome = fetch_object(context, connection, table, DAY, replace=True)
    return {**_spent(begun, cpu), "records": outcome.records, "bytes": outcome.size_bytes}


def _spent(begun: float, cpu: float) -> dict[str, float]:
    """Return the seconds since two readings of the clocks."""
    return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}


def floor(url: str, headers: Mapping[str, str], table: Table, folder: Path) -> dict[str, Any]:
    """Ask for one page after another until the last, and write them to a file; nothing is read or proven."""
    call = table.source.call
    assert call is not None
    assert call.pages is not None
    assert call.total is not None
    size, pages = next(iter(call.pages.size.values())), urllib3.PoolManager()
    query = {name: filled(value, load_date=DAY) for name, value in call.query.items()}
    begun, cpu = time.perf_counter(), time.process_time()
    page, records, total = call.pages.beginning, 0, 1
    with (folder / "floor.json").open("wb") as file:
        while records < total:
            answer = pages.request("GET", url + call.path, fields={**query, **page}, headers=headers)
            if not records:
                total = json.loads(answer.data)[call.total]
            file.write(answer.data)
            records = min(records + size, total)
            page = call.pages.after(page, None, records) or {}
    return {**_spent(begun, cpu), "records": records, "bytes": (folder / "floor.json").stat().st_size}


def headers_of(headers: Mapping[str, str], config: Settings) -> dict[str, str]:
    """Return headers with the secrets of the environment."""
    secrets = {name: secret.get_secret_value() for name, secret in config.api_secrets["retail"].items()}
    return {name: str(filled(value, secrets=secrets)) for name, value in headers.items()}


if __name__ == "__main__":
    main()
