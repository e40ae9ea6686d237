"""dlt: ask HTTP APIs with its source rest_api, from the words of a pipeline's own calls, so that both ask the same.

The records of a page are parsed and written to a file of dlt (`extract`), and the load puts them into Postgres (`run`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from bench.context import BenchContext
from bench.dlt_lines import REQUIREMENTS
from kpi_assets.model.api import Pages, filled
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table

__all__ = ["DATABASE", "REQUIREMENTS", "ask", "source_of"]
DATABASE = "bench_dlt_api"
Source = dict[str, Any]  # the configuration of rest_api
SCRIPT = """
import json
import pathlib
import sys
import time
import dlt
from dlt.sources.rest_api import rest_api_source

what, url = sys.argv[1:]
pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(url), dataset_name="raw")
seconds, cpu, records = [], [], {}
for run in json.load(sys.stdin):
    sources = [rest_api_source(config, name=config["resources"][0]["name"]) for config in run]
    begun, used = time.perf_counter(), time.process_time()
    if what == "extract":
        info = [pipeline.extract(source) for source in sources]
    else:
        info = [pipeline.run(sources, loader_file_format="csv")]
        info[0].raise_on_failed_jobs()
    seconds.append(time.perf_counter() - begun)
    cpu.append(time.process_time() - used)
    if what == "extract":
        for load in (load for each in info for loads in each.metrics.values() for load in loads):
            for name, found in load["table_metrics"].items():
                records[name] = records.get(name, 0) + found.items_count
status = pathlib.Path("/proc/self/status").read_text()
memory = int(status.split("VmHWM:")[1].split()[0]) >> 10
print(json.dumps({"seconds": seconds, "cpu": cpu, "records": records, "memory_mb": memory}))
"""


def source_of(pipeline: Pipeline, table: Table, url: str, secrets: Mapping[str, str], load_date: date) -> Source:
    """Return what rest_api is to ask: the call of a raw table for a load_date, with its secrets."""
    call, name = table.source.call, table.source.api
    assert call is not None
    assert name is not None
    api = pipeline.config.apis[name]

    def texts(*words: Mapping[str, Any]) -> dict[str, Any]:
        joined = {key: value for each in words for key, value in each.items()}
        return {key: filled(value, load_date=load_date, secrets=secrets) for key, value in joined.items()}

    size = call.pages.size if call.pages else {}
    in_body = call.method == "POST"
    endpoint: dict[str, Any] = {
        "path": str(filled(call.path, load_date=load_date)).lstrip("/"),
        "method": call.method,
        "data_selector": table.source.records,
        "params": {**texts(api.query, call.query), **({} if in_body else size)},
        "paginator": _paginator(call.pages, in_body, call.total),
    }
    if in_body:
        endpoint["json"] = {**texts(api.body, call.body), **size}
    return {
        "client": {"base_url": url, "headers": texts(api.headers)},
        "resources": [{"name": table.relation.table, "endpoint": endpoint}],
    }


def _paginator(pages: Pages | None, in_body: bool, total: str | None) -> dict[str, Any]:
    if pages is None:
        return {"type": "single_page"}
    place = "body_path" if in_body else "param"
    if pages.by == "cursor":
        return {"type": "cursor", "cursor_path": pages.following, f"cursor_{place}": pages.parameter}
    first = pages.beginning[pages.parameter]
    if pages.by == "page":  # its total_path is a number of pages, so an empty page ends it
        return {"type": "page_number", "base_page": first, f"page_{place}": pages.parameter, "total_path": None}
    [(limit, size)] = pages.size.items()
    shape = {"type": "offset", "offset": first, "limit": size, "total_path": total}
    return {**shape, f"offset_{place}": pages.parameter, f"limit_{place}": limit}


def ask(context: BenchContext, what: str, runs: Sequence[Sequence[Source]]) -> dict[str, Any]:
    """Extract or load each run's sources, in a process of its own; return its seconds, records and memory."""
    url = context.fresh_database(DATABASE)
    script = context.scratch / "ask_api.py"
    script.write_text(SCRIPT)
    context.call(["rm", "-rf", context.scratch / "dlt"])
    printed = context.call(
        [context.tools / "dlt" / "bin" / "python", script, what, url],
        given=json.dumps(runs),
        DLT_DATA_DIR=str(context.scratch / "dlt"),
        RUNTIME__DLTHUB_TELEMETRY="false",
        NORMALIZE__WORKERS="2",
        LOAD__WORKERS="2",
    )
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found
