"""The memory of a build is bounded for any records. It is measured in a separate process."""

import subprocess
import sys

import pytest

from kpi_assets_tests import examples
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness

MEASURED = """
import re, sys
from pathlib import Path
from kpi_assets_tests.materialize import build_in_subprocess
build_in_subprocess.main(*sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""
MB = 1 << 20
HEADER = b"thing_id,name,weight\n"
# Short records whose parts fill the read-ahead: the memory of a usual build
SHORT = b"".join(b"%d,anvil number %d,20.50\n" % (number, number) for number in range(800_000))


def peak(lab: PipelineHarness, body: bytes) -> int:
    """Return the peak memory, in MB, of a process that builds raw.things from an object with this body."""
    lab.file("raw/things.sql", RAW_THINGS.replace("columns:", "quarantine: {rows: 9}\ncolumns:"))
    lab.put_things(HEADER + body)
    lab.verify("raw.things")
    words = ["build", str(lab.root), lab.name, lab.bucket, "raw.things", str(DAY), "never", "1"]
    ran = subprocess.run([sys.executable, "-c", MEASURED, *words], check=True, capture_output=True, text=True)
    return int(ran.stdout)


@pytest.mark.nightly
def test_long_fields_need_hardly_more_memory_than_short_ones(lab: PipelineHarness) -> None:
    """`make test` builds one kind of field, `make nightly` all: each build takes ten seconds."""
    usual = peak(lab, SHORT)
    records = {
        "64 MB of quotes": b'1,"' + b'""' * (32 * MB) + b'",1\n',
        "64 MB": b"1," + b"x" * (64 * MB) + b",1\n",
        "64 MB after a quote that is not closed": b'1,"' + "🙂".encode() * (16 * MB),
        "15 MB, which load": b"".join(b'%d,"' % n + b'x""' * (5 * MB) + b'",1\n' for n in range(1, 6)),
    }
    built = list(records) if examples.ALL else list(records)[:1]
    peaks = {name: peak(lab, records[name] + b"9,feather,\n") for name in built}
    assert {name: taken for name, taken in peaks.items() if taken > usual + 100} == {}
