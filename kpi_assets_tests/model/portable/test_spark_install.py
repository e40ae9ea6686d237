"""What Spark needs is pinned, comes from nothing, and is refused if it is not what was pinned."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from kpi_assets_tests.model.portable import spark_install
from kpi_assets_tests.model.portable.spark import OnSpark

# Stands for Maven: writes a jar with these bytes, and counts how often it was asked.
_MAVEN = """#!/bin/sh
for each; do case $each in -DoutputDirectory=*) printf 'a jar' > "${each#*=}/thing-1.0.jar";; esac; done
echo asked >> "$(dirname "$0")/asked"
"""


@pytest.mark.parametrize("lock", [spark_install.SPARK, spark_install.JARS])
def test_everything_is_pinned_with_its_hash_and_no_file_names_a_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = [line for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]
    assert entries
    assert [line for line in entries if not re.search(r"\b[0-9a-f]{64}\b", line)] == []


@pytest.mark.process
def test_a_jar_is_fetched_once_and_refused_if_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, kept, lock = tmp_path / "bin", tmp_path / "kept", tmp_path / "jars.lock"
    programs.mkdir()
    (programs / "mvn").write_text(_MAVEN)
    (programs / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    lock.write_text(f"org.things:thing:1.0 {hashlib.sha256(b'another jar').hexdigest()}\n")
    for _ in range(2):  # what was refused is not there the next time
        with pytest.raises(
            RuntimeError, match=f"^org.things:thing:1.0 came with the SHA-256 [0-9a-f]{{64}}, and {lock} "
        ):
            spark_install.jars(kept, lock)
    lock.write_text(f"org.things:thing:1.0 {hashlib.sha256(b'a jar').hexdigest()}\n")
    for _ in range(2):
        [jar] = spark_install.jars(kept, lock)
        assert jar.name == "thing-1.0.jar"
    assert (programs / "asked").read_text().count("asked") == 3


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("mvn"), reason="jars come by Maven's client: install the package maven")
def test_spark_comes_into_an_empty_home_with_its_jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the Java of the machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAVEN_OPTS", f"-Duser.home={tmp_path}")  # Java does not look at HOME
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    kept = tmp_path / "kept"
    names = [line.split(":")[1] for line in spark_install.JARS.read_text().splitlines()]
    assert len(spark_install.jars(kept)) == len(names)
    with OnSpark.open(by_connect=True, within=kept) as spark:
        assert spark.all_rows("select 1") == [(1,)]
