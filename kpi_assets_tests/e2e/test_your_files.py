"""The guide "Your own files" is true: its commands and files take a shop's exports to a KPI."""

import csv
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from kpi_assets.model.header import split
from kpi_assets.samples import shop
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli import forked
from kpi_assets_tests.cli.command import plain_environment

GUIDE = (CHECKOUT / "docs" / "guides" / "your_files.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SAVED = re.compile(r"[Ss]ave it as\s+`(sql/\S+)`")


def revenue(folder: Path, day: str) -> dict[str, tuple[int, Decimal]]:
    """Return the pieces and the revenue of each product, computed from the file."""
    found: dict[str, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal()))
    with (folder / f"Sales {day}.csv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            pieces, price = int(row["Qty"]), Decimal(row["Unit Price"])
            exact = pieces * price * (100 - int(row.get("Discount %") or 0)) / 100
            before = found[row["Product Name"]]
            money = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
            found[row["Product Name"]] = (before[0] + pieces, before[1] + money)
    return dict(found)


def proposed(text: str) -> tuple[object, ...]:
    """Return what `kpi infer` decides: all of a raw table's file except its descriptions, owner and checks."""
    header, _, _ = split(Path("sales.sql"), text)
    columns = {name: column.model_dump(exclude={"description"}) for name, column in header.columns.items()}
    return header.source, header.grain, columns


def test_the_files_are_as_the_guide_says(tmp_path: Path) -> None:
    paths = shop.write(tmp_path)
    assert (len(paths), paths[0].name, paths[-1].name) == (35, "Sales 20250601.csv", "Sales 20250710.csv")
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in shop.write(tmp_path)] == before
    assert GUIDE.count(before[0].decode().split("\r\n")[0]) == 1
    assert before[0].decode().split("\r\n")[1] in GUIDE
    assert sum(b"Discount %" in body for body in before) == 17


@pytest.mark.nightly
def test_the_commands_and_files_of_the_guide_make_the_kpi(tmp_path: Path) -> None:
    """Run every command in the order of the page, as it stands there, and save every file where it says."""
    programs = Path(sys.executable).parent
    environment = {**plain_environment(), "HOME": str(tmp_path), "PATH": f"{programs}:/usr/bin:/bin"}
    place = {"/tmp/shop": str(tmp_path / "shop")}
    here, said = tmp_path, dict[str, str]()
    end = 0
    for block in _BLOCK.finditer(GUIDE):
        language, text = block.groups()
        names = _SAVED.findall(GUIDE[end : block.start()])
        end = block.end()
        if language in {"yaml", "sql"}:
            path = here / names[-1]
            if path.exists() and path.parent.name == "raw":
                assert proposed(text) == proposed(path.read_text()), "a person corrects nothing of what was inferred"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for line in text.splitlines() if language == "sh" else []:
            command = line.replace(*next(iter(place.items())))
            script = f"{command} && pwd > {shlex.quote(str(tmp_path / 'here'))}"
            done = subprocess.run(
                ["/bin/sh", "-ec", script], cwd=here, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            here = Path((tmp_path / "here").read_text().strip())
            said[" ".join(line.split()[:2])] = done.stdout
    assert said["kpi land"].startswith("landed 35 objects of 35 load_dates, 2025-06-01 to 2025-07-10 in s3://kpi-shop ")
    assert said["kpi plan"].splitlines()[-1] == "35 published."
    assert re.search(r"raw\.sales of 2025-07-10: \d+ rows, by product_name", said["kpi trace"])
    assert "s3://kpi-shop/raw/sales/Sales 20250710.csv line " in said["kpi trace"]
    for day in ("2025-06-01", "2025-07-10"):
        command = ["kpi", "show", "shop", "marts.kpi_revenue_by_product", "--load-date", day, "--format", "csv"]
        shown = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True).stdout
        rows = {name: (int(pieces), Decimal(money)) for name, pieces, money in list(csv.reader(shown.splitlines()))[1:]}
        assert rows == revenue(tmp_path / "shop" / "exports", day.replace("-", ""))


@pytest.mark.parametrize("words", [["--pipeline", "shop", "--start-date", "2025-06-01"], ["--pipeline", "shop"]])
def test_init_writes_a_pipeline_without_tables(tmp_path: Path, words: list[str]) -> None:
    def call(*arguments: str, cwd: Path = tmp_path) -> forked.Completed:
        return forked.call(arguments, plain_environment(), cwd)

    said = call("init", "mine", *words)
    assert said.returncode == 0, said.stderr
    project = tmp_path / "mine"
    files = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    assert files == [".gitignore", "sql/shop/pipeline.yaml", "workspace.yaml"]
    assert call("check", cwd=project).stdout == "All files can be read: shop.\n"
    refused = call("init", "other", "--pipeline", "My Shop")
    assert (refused.returncode, "as in 'my_shop'" in refused.stderr) == (2, True)
    assert call("init", "other", "--start-date", "2025-06-01").returncode == 2
