"""dlt: load orders from JSON lines, in both ways that it documents.

One is its reader of JSON lines; the other hands over Arrow tables, which are loaded over ADBC. Neither keeps the
letters of a record.
"""

import time
from pathlib import Path

from bench.context import BenchContext
from bench.dlt_lines import REQUIREMENTS

__all__ = ["REQUIREMENTS", "WAYS", "load"]
DATABASE = "bench_dlt_json"
_OPTIONS = 'pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(sys.argv[2]), dataset_name="raw")'
WAYS = {
    "dlt, Arrow": f"""
import sys
import dlt
import pyarrow
import pyarrow.json

@dlt.resource(name="orders", write_disposition="replace")
def orders():
    options = pyarrow.json.ReadOptions(block_size=16 << 20)
    for batch in pyarrow.json.open_json(sys.argv[1], read_options=options):
        yield pyarrow.Table.from_batches([batch])

{_OPTIONS}
pipeline.run(orders(), loader_file_format="parquet")
""",
    "dlt, its reader of JSON lines": f"""
import pathlib
import sys
import dlt
from dlt.sources.filesystem import filesystem, read_jsonl

path = pathlib.Path(sys.argv[1])
files = filesystem(bucket_url=path.parent.as_uri(), file_glob=path.name)
{_OPTIONS}
orders = (files | read_jsonl(chunksize=10_000)).with_name("orders")
orders.apply_hints(write_disposition="replace")
pipeline.run(orders, loader_file_format="csv")
""",
}


def load(context: BenchContext, way: str, orders: Path) -> tuple[float, str]:
    """Load the file into an empty database; return the seconds, and the URL of the database."""
    url = context.fresh_database(DATABASE)
    script = context.scratch / "load_orders.py"
    script.write_text(WAYS[way])
    context.call(["rm", "-rf", context.scratch / "dlt"])
    begun = time.perf_counter()
    context.call(
        [context.tools / "dlt" / "bin" / "python", script, orders, url],
        DLT_DATA_DIR=str(context.scratch / "dlt"),
        RUNTIME__DLTHUB_TELEMETRY="false",
        NORMALIZE__WORKERS="2",
        LOAD__WORKERS="2",
    )
    return time.perf_counter() - begun, url
