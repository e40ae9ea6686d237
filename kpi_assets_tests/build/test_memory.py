"""The memory of a build is bounded whatever the records are; it is measured in a process of its own."""

import subprocess
import sys

import pytest

from kpi_assets_tests.lab import DAY, RAW_THINGS, Lab

MEASURED = """
import re, sys
from kpi_assets_tests.build import worker
worker.main(*sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""
HEADER = b"thing_id,name,weight\n"
SHORT = b"".join(b"%d,anvil number %d,20.50\n" % (number, number) for number in range(300_000))
MB = 1 << 20


def peak(lab: Lab, body: bytes) -> int:
    """Megabytes that a process takes at most which builds raw.things of such an object."""
    lab.file("raw/things.sql", RAW_THINGS.replace("format: csv", "format: csv\n  quarantine_budget: 9"))
    lab.put_things(HEADER + body)
    lab.verify("raw.things")
    words = [str(lab.root), lab.name, lab.bucket, "raw.things", str(DAY), "never", "1"]
    ran = subprocess.run([sys.executable, "-c", MEASURED, *words], check=True, capture_output=True, text=True)
    return int(ran.stdout)


@pytest.mark.parametrize(
    "record",
    [
        b"1," + b"x" * (64 * MB) + b",1\n",
        b'1,"' + b"x" * (64 * MB) + b'",1\n',
        b'1,"' + b'""' * (32 * MB) + b'",1\n',
    
        b'1,"' + "🙂".encode() * (16 * MB),
        b"1,x," + b"9" * (64 * MB) + b"\n",
    ],
    ids=["bare", "quoted", "doubled quotes", "not closed", "a number"],
)
def test_a_field_of_64_mb_takes_no_more_memory_than_a_file(lab: Lab, record: bytes) -> None:
    usual = peak(lab, SHORT)
    print("PEAK", usual, peak(lab, SHORT + record))


@pytest.mark.parametrize(
    "record",
    [
        b"1," + b"x" * (15 * MB) + b",1\n",
        b'1,"' + b'""' * (7 * MB) + b'",1\n',
        b'1,"' + b"x\n" * (7 * MB) + b'",1\n',
        b'1,"' + "🙂".encode() * (3 * MB) + b"x" * (3*MB)+ b'",1\n',
        b"1,x," + b"9" * (15 * MB) + b"\n",
    ],
)
@pytest.mark.parametrize("broken", [b"", b"broken\n"])
def test_x(lab: Lab, record: bytes, broken) -> None:
    print("PEAK", peak(lab, SHORT + record+broken))
