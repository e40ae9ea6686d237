"""`kpi waive`, `kpi rulings` and `kpi revoke`: a held build is published on a person's word, which is shown with it."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS
from kpi_assets_tests.two_source_pipeline import WEIGHED

NAME, BUCKET, DAY = "waived", "kpi-waived", date(2025, 4, 7)
TABLE, CHECK = "marts.weighed", "range__weight"
REASON = "the scale was replaced, the weight is right"
CHECKED = WEIGHED.replace("@end */", "checks:\n  range: {weight: [0, 50]}\n@end */")


@pytest.fixture(scope="module")
def files(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a pipeline of which a mart of DAY is held."""
    sql = tmp_path_factory.mktemp("waived") / "sql"
    for name, text in {"raw/things": RAW_THINGS, "marts/weighed": CHECKED}.items():
        path: Path = sql / NAME / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (sql / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET))
    kpi.stack.make_bucket(BUCKET)
    body = b"thing_id,name,weight\n1,anvil,70.00\n"
    kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/things/load_date={DAY}/things.csv", Body=body)
    kpi("run", NAME, "--load-date", DAY, code=3, KPI_SQL_DIR=str(sql))
    yield {"KPI_SQL_DIR": str(sql)}


def test_the_story_of_a_waiver(kpi: CliHarness, files: dict[str, str]) -> None:
    assert kpi("rulings", NAME, **files).out == f"{NAME}: nobody ruled on a build.\n"
    words = ("--load-date", DAY, "--check", CHECK, "--by", "ana")
    kpi.fails(
        "The reason has fewer than 10 characters: write with --reason why, for whoever reads it later.",
        *("waive", NAME, TABLE, *words, "--reason", "because"),
        code=2,
        **files,
    )
    made = kpi("waive", NAME, TABLE, *words, "--reason", REASON, **files)
    assert made.out.startswith(f"waived {CHECK} of {TABLE} of {DAY} until ")
    assert f"s3://{BUCKET}/decisions/{TABLE}/load_date={DAY}/0001.jsonl (ruling 1)" in made.out
    assert f"`kpi run {NAME} --load-date {DAY} --select {TABLE}+` does it now." in made.out
    [planned] = json.loads(kpi("plan", NAME, "--format", "json", **files).out)
    assert planned["reason"].startswith("Held, and waived by ana until ")

    kpi("run", NAME, "--load-date", DAY, "--select", f"{TABLE}+", **files)
    sentence = f"waived {TABLE} of {DAY} is published although {CHECK} failed: waived by ana until"
    for command in (("plan", NAME), ("show", NAME, TABLE), ("status",)):
        shown = " ".join(kpi(*command, **files).out.split())
        assert sentence in shown
        assert f"({REASON})." in shown
    assert "(waived" in kpi("checks", NAME, **files).out
    assert f"although {CHECK} failed" in " ".join(kpi("alerts", NAME, **files).out.split())
    assert kpi("recheck", NAME, "--load-date", DAY, "--select", TABLE, **files).code == 0
    [row] = json.loads(kpi("rulings", NAME, "--format", "json", **files).out)
    assert {word: row[word] for word in ("id", "kind", "load_date", "table", "checks", "state", "by", "reason")} == {
        "id": 1,
        "kind": "waive",
        "load_date": DAY.isoformat(),
        "table": TABLE,
        "checks": CHECK,
        "state": "used",
        "by": "ana",
        "reason": REASON,
    }

    taken = kpi("revoke", NAME, 1, "--reason", "the scale is wrong after all", "--by", "ben", **files)
    assert taken.out.startswith(f"revoked ruling 1: waive of {TABLE} of {DAY}")
    assert "ben revoked that: the scale is wrong after all" in " ".join(kpi("plan", NAME, **files).out.split())
    kpi("recheck", NAME, "--load-date", DAY, "--select", TABLE, code=3, **files)
    kpi("run", NAME, "--load-date", DAY, "--select", f"{TABLE}+", code=3, **files)
    assert "70.00" in kpi("show", NAME, TABLE, "--format", "csv", **files).out, "readers keep what they had"
    assert kpi("rulings", NAME, "--open", **files).out == f"{NAME}: no ruling counts now.\n"
    kpi.fails(
        f"There is no ruling 7 in {NAME}: `kpi rulings {NAME}` prints them.",
        *("revoke", NAME, 7, "--reason", "there is none of it"),
        code=1,
        **files,
    )
