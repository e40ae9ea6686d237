"""`kpi quarantine`: what was set aside is listed, exported and decided on; nothing is decided that would be lost."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.model import excerpt
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.pipeline_harness import MART, PIPELINE_YAML, RAW_THINGS

NAME, BUCKET, DAY = "aside", "kpi-aside", date(2025, 4, 7)
BODY = b"thing_id,name,weight\n1,anvil,20.50\nx,feather,1.00\n3,saw,two\n"
OBJECT = f"raw/things/load_date={DAY}/things.csv"
ROW = {"thing_id": 7, "weight": -5.5}
days = count(1)


@pytest.fixture(scope="module")
def place(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of which two records of DAY are set aside, published by `kpi run`."""
    sql = tmp_path_factory.mktemp("aside") / "sql"
    raw = RAW_THINGS.replace("columns:", "quarantine: {rows: 5}\ncolumns:")
    for name, text in {"raw/things": raw, "marts/weighed": MART}.items():
        path = sql / NAME / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (sql / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET))
    kpi.stack.make_bucket(BUCKET)
    kpi.s3.put_object(Bucket=BUCKET, Key=OBJECT, Body=BODY)
    kpi("run", NAME, "--load-date", DAY, KPI_SQL_DIR=str(sql))
    return sql


@pytest.fixture
def quarantine(kpi: CliHarness, place: Path) -> "Quarantine":
    return Quarantine(kpi, place)


class Quarantine:
    """`kpi quarantine` in that pipeline, and a load_date of its own for each test, with rows set aside of a mart."""

    def __init__(self, kpi: CliHarness, sql: Path) -> None:
        self.kpi, self.environment = kpi, {"KPI_SQL_DIR": str(sql)}
        self.day = DAY + timedelta(days=next(days))
        self.build = self.row_of_build()

    def __call__(self, command: str, *words: object, code: int = 0) -> Any:
        return self.kpi("quarantine", command, NAME, *words, code=code, **self.environment)

    def fails(self, sentence: str, command: str, *words: object, code: int = 1) -> None:
        self.kpi.fails(sentence, "quarantine", command, NAME, *words, code=code, **self.environment)

    def row_of_build(self) -> int:
        [(found,)] = self.kpi.rows(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status, ended_at) "
            "values ('test', %s, 'marts.weighed', %s, 'success', now()) returning id",
            NAME,
            self.day,
            database=NAME,
        )
        return int(found)

    def aside(self, row: Any = ROW, *, record: str = "", state: str = "waiting", decision: str | None = None) -> int:
        """Set a row of marts.weighed aside, as a build does; return its id."""
        [(found,)] = self.kpi.rows(
            "insert into ops.quarantine (build_id, run_id, table_name, load_date, record, reason, key, rules, state, "
            "decision) values (%s, 'test', 'marts.weighed', %s, %s, 'breaks positive', %s, '{positive}', %s, %s) "
            "returning id",
            self.build,
            self.day,
            record or json.dumps(row),
            json.dumps({"thing_id": row["thing_id"]}),
            state,
            decision,
            database=NAME,
        )
        return int(found)

    def records(self) -> list[int]:
        """Return the ids of the two records of DAY."""
        rows = self.kpi.rows("select id from ops.bad_rows where table_name = 'raw.things' order by line", database=NAME)
        return [id_ for (id_,) in rows]

    def made(self, table: str = "marts.weighed", day: date | None = None) -> list[dict[str, Any]]:
        """Return every decision on S3, each without its time, and with the name of its object."""
        prefix = f"decisions/{table}/load_date={day or self.day}/"
        found = []
        for entry in self.kpi.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
            body = self.kpi.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            for line in body.splitlines():
                words = json.loads(line)
                assert words.pop("at").endswith("+00:00")
                found.append({**words, "in": entry["Key"].removeprefix(prefix)})
        return found

    def key(self, number: int = 1) -> str:
        return f"decisions/marts.weighed/load_date={self.day}/{number:04}.jsonl"

    def of(self, id_: int) -> str:
        return f"Row {id_} of marts.weighed of {self.day}"


BECAUSE = ("--reason", "a gift", "--by", "ana")


def test_what_was_set_aside_is_listed(quarantine: Quarantine) -> None:
    first, second = quarantine.records()
    said = quarantine("list", "--load-date", DAY, "--format", "json")
    reason = 'invalid input syntax for type integer: "x"'
    rows = json.loads(said.out)
    assert [(row["id"], row["table"], row["place"], row["breaks"], row["state"], row["decision"]) for row in rows] == [
        (first, "raw.things", f"{OBJECT}:3", "thing_id", "waiting", None),
        (second, "raw.things", f"{OBJECT}:4", "weight", "waiting", None),
    ]
    assert rows[0]["reason"] in {reason, rows[0]["reason"]}
    csv = quarantine("list", "--table", "raw.things", "--format", "csv").out.splitlines()
    assert csv[0] == "id,load_date,table,place,breaks,reason,state,decision"
    assert [line.split(",")[:5] for line in csv[1:]] == [
        [str(first), str(DAY), "raw.things", f"{OBJECT}:3", "thing_id"],
        [str(second), str(DAY), "raw.things", f"{OBJECT}:4", "weight"],
    ]
    assert quarantine("list", "--load-date", DAY).line("weight", "waiting")
    said = quarantine("list", "--load-date", DAY, "--state", "discarded")
    assert said.out == f"{NAME}: nothing of {DAY} is set aside and discarded.\n"


def test_a_row_is_discarded_and_the_decision_is_shown_until_a_build_has_read_it(quarantine: Quarantine) -> None:
    id_ = quarantine.aside()
    said = quarantine("discard", id_, *BECAUSE)
    assert said.out.splitlines() == [
        f'discarded row {id_} of marts.weighed of {quarantine.day}, {{"thing_id": 7}}',
        f"written s3://{BUCKET}/{quarantine.key()} (1 decision)",
        f"marts.weighed of {quarantine.day} is built by automation where it is on; `kpi run {NAME} --load-date "
        f"{quarantine.day} --select marts.weighed+` builds it now.",
    ]
    assert quarantine.made() == [
        {"kind": "discard", "key": {"thing_id": 7}, "was": {"weight": -5.5}, "reason": "a gift", "by": "ana",
         "in": "0001.jsonl"}
    ]  # fmt: skip
    assert quarantine.kpi.rows(
        "select rows from ops.published where asset = 'decisions.marts__weighed' and load_date = %s",
        quarantine.day,
        database=NAME,
    ) == [(1,)]
    [row] = json.loads(quarantine("list", "--load-date", quarantine.day, "--format", "json").out)
    assert (row["state"], row["decision"]) == ("waiting", "discard by ana, not built yet")
    shown = quarantine("show", id_).out.splitlines()
    assert shown[0] == f"marts.weighed of {quarantine.day}, row {id_}: waiting"
    assert " ".join(shown[-3].split()[:4]) == "discarded by ana on"
    assert shown[-2].strip() == f"{quarantine.key()}:1"
    assert shown[-1].startswith("No build has read the last decision yet: marts.weighed of")


def test_rows_are_exported_filled_in_and_corrected(quarantine: Quarantine, tmp_path: Path) -> None:
    ids = [quarantine.aside({"thing_id": n, "weight": weight}) for n, weight in ((1, -1.5), (2, -2.25), (3, None))]
    file = tmp_path / "rows.jsonl"
    said = quarantine("export", "--out", file, "--load-date", quarantine.day)
    assert said.out == (
        f"3 rows in {file}: write corrected values into `set`, then `kpi quarantine correct {NAME} --from {file}`.\n"
    )
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == {
        "id": ids[0],
        "table": "marts.weighed",
        "load_date": str(quarantine.day),
        "row": {"thing_id": 1, "weight": -1.5},
        "rules": ["positive"],
        "reason": "breaks positive",
        "set": {},
    }
    there = f"{file} exists already, and may have values that somebody filled in: name another file."
    quarantine.fails(there, "export", "--out", file, code=2)
    nothing = f"No row of {file} has values in `set`: write the corrected values there."
    quarantine.fails(nothing, "correct", "--from", file, *BECAUSE, code=2)

    lines[0]["set"], lines[2]["set"] = {"weight": 1.50}, {"weight": 3}
    file.write_text("\n".join(map(json.dumps, lines)))
    said = quarantine("correct", "--from", file, *BECAUSE)
    assert said.out.splitlines()[:-2] == [
        f'corrected row {ids[0]} of marts.weighed of {quarantine.day}, {{"thing_id": 1}}',
        "  weight: -1.5 becomes 1.5",
        f'corrected row {ids[2]} of marts.weighed of {quarantine.day}, {{"thing_id": 3}}',
        "  weight: null becomes 3",
        f"written s3://{BUCKET}/{quarantine.key()} (2 decisions)",
    ]
    assert said.out.splitlines()[-1] == f"1 row of {file} without values in `set` stayed as they are."
    assert [(each["key"], each["was"], each["set"], each["in"]) for each in quarantine.made()] == [
        ({"thing_id": 1}, {"weight": -1.5}, {"weight": 1.5}, "0001.jsonl"),
        ({"thing_id": 3}, {"weight": None}, {"weight": 3}, "0001.jsonl"),
    ]


def test_numbers_are_kept_that_a_float_would_round(quarantine: Quarantine, tmp_path: Path) -> None:
    exact = "12345678901234567.891"
    id_ = quarantine.aside(record=f'{{"thing_id": 7, "weight": {exact}}}')
    file = tmp_path / "rows.jsonl"
    quarantine("export", "--out", file, "--load-date", quarantine.day)
    assert exact in file.read_text()
    file.write_text(json.dumps({"id": id_, "set": {}}).replace("{}", f'{{"weight": {exact}1}}'))
    quarantine("correct", "--from", file, *BECAUSE)
    body = quarantine.kpi.s3.get_object(Bucket=BUCKET, Key=quarantine.key())["Body"].read().decode()
    assert f'"was": {{"weight": {exact}}}, "set": {{"weight": {exact}1}}' in body


def test_a_record_of_an_object_is_corrected_as_its_text_and_never_accepted(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    first, second = quarantine.records()
    cannot = (
        f"Row {first} of raw.things of {DAY} cannot be accepted: it accepts a record that cannot be read: correct the "
        "record, or discard it; only rows can be accepted."
    )
    quarantine.fails(cannot, "accept", first, *BECAUSE)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"id": second, "set": {"record": "3,saw,2.00"}}))
    said = quarantine("correct", "--from", file, *BECAUSE)
    assert said.out.splitlines()[1] == '  record: "3,saw,two" becomes "3,saw,2.00"'
    assert quarantine.made("raw.things", DAY) == [
        {"kind": "correct", "key": {"object": OBJECT, "line": 4}, "was": {"record": "3,saw,two"},
         "set": {"record": "3,saw,2.00"}, "reason": "a gift", "by": "ana", "in": "0001.jsonl"}
    ]  # fmt: skip
    plan = json.loads(quarantine.kpi("plan", NAME, "--format", "json", **quarantine.environment).out)
    [status] = [each for each in plan if each["load_date"] == str(DAY)]
    assert (status["state"], status["cause"]) == ("stale", "decisions")


@pytest.mark.nightly
def test_a_row_that_is_decided_on_is_decided_on_anew_only_with_again(quarantine: Quarantine) -> None:
    id_ = quarantine.aside()
    quarantine("discard", id_, *BECAUSE)
    said = quarantine("accept", id_, "--reason", "not a test", "--by", "bob", code=1)
    assert said.err.startswith(f"error: {quarantine.of(id_)} was discarded by ana on ")
    assert said.err.endswith(" UTC (a gift): --again decides on it anew, and the last decision counts.\n")
    assert len(quarantine.made()) == 1
    quarantine("accept", id_, "--reason", "not a test", "--by", "bob", "--again")
    assert [(each["kind"], each["in"]) for each in quarantine.made()] == [
        ("discard", "0001.jsonl"),
        ("accept", "0002.jsonl"),
    ]
    [row] = json.loads(quarantine("list", "--load-date", quarantine.day, "--format", "json").out)
    assert row["decision"] == "accept by bob, not built yet"


def test_a_correction_that_broke_a_rule_can_be_followed_by_another(quarantine: Quarantine, tmp_path: Path) -> None:
    id_ = quarantine.aside()
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"id": id_, "set": {"weight": -1}}))
    quarantine("correct", "--from", file, *BECAUSE)
    quarantine.kpi.execute(
        f"update ops.quarantine set decision = '{quarantine.key()}:1' where id = {id_}", database=NAME
    )
    file.write_text(json.dumps({"id": id_, "set": {"weight": 1}}))
    quarantine("correct", "--from", file, *BECAUSE)
    assert [each["set"] for each in quarantine.made()] == [{"weight": -1}, {"weight": 1}]


@pytest.mark.nightly
def test_a_discarded_row_that_a_build_knows_is_decided_on(quarantine: Quarantine) -> None:
    id_ = quarantine.aside()
    quarantine("discard", id_, *BECAUSE)
    again = quarantine.row_of_build()
    quarantine.build = again
    later = quarantine.aside(state="discarded", decision=f"{quarantine.key()}:1")
    said = quarantine("discard", later, *BECAUSE, code=1)
    assert f"{quarantine.of(later)} was discarded by ana on" in said.err
    [row] = json.loads(quarantine("list", "--load-date", quarantine.day, "--format", "json").out)
    assert (row["id"], row["state"], row["decision"]) == (later, "discarded", "discard by ana")
    old = (
        f"Row {id_} is of an earlier build of marts.weighed of {quarantine.day}: `kpi quarantine list {NAME} --table "
        f"marts.weighed --load-date {quarantine.day}` prints the rows of the latest one."
    )
    quarantine.fails(old, "accept", id_, *BECAUSE)


@pytest.mark.nightly
def test_nothing_is_decided_unless_all_can_be(quarantine: Quarantine, tmp_path: Path) -> None:
    sound, keyless = quarantine.aside(), quarantine.aside({"thing_id": None, "weight": -1})
    longs = [
        quarantine.aside(record=excerpt.cut(json.dumps({**ROW, "name": "x" * 20_000}), excerpt.RECORD)),
        quarantine.aside({**ROW, "name": excerpt.cut("x" * 20_000)}),
    ]
    no_row = "among those of aside that were set aside: `kpi quarantine list aside` prints them."
    quarantine.fails(f"There is no row 999999 {no_row}", "discard", sound, 999999, *BECAUSE)
    said = quarantine("discard", sound, keyless, *longs, *BECAUSE, code=1)
    assert (said.out, said.err.splitlines()) == (
        "",
        [
            f"error: {quarantine.of(keyless)} cannot be discarded: thing_id of its key is null: a row whose key is "
            "unknown cannot be decided on.",
            *(
                f"error: {quarantine.of(long)} cannot be decided on: it is longer than the 16,000 characters that are "
                "kept of a row, so that the rest is not known here: correct it at its source, and deliver the object "
                "again."
                for long in longs
            ),
        ],
    )
    file = tmp_path / "rows.jsonl"
    for corrected, problem in [
        ({"weight": -5.5}, " has these values already: set others, or leave it out."),
        (
            {"thing_id": None},
            " cannot be corrected: it sets thing_id to null, and thing_id is a column of the grain: give it a value.",
        ),
        (
            {"wait": 1},
            " cannot be corrected: it sets 'wait', which is no column of marts.weighed: it has thing_id, weight.",
        ),
        (
            {"weight": "\x00"},
            r" cannot be corrected: it holds the character \u0000, which PostgreSQL cannot store: take it out.",
        ),
    ]:
        file.write_text(json.dumps({"id": sound, "set": corrected}))
        quarantine.fails(f"{quarantine.of(sound)}{problem}", "correct", "--from", file, *BECAUSE)
    assert quarantine.made() == []
    exported = quarantine("export", "--out", tmp_path / "out.jsonl", "--load-date", quarantine.day)
    assert exported.err.startswith(f"left out row {longs[0]} of marts.weighed of {quarantine.day}: it is longer than")
    assert exported.out.startswith("2 rows in ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Line 2 of {file}: it is not JSON (Expecting property name enclosed in double quotes at character 2)."),
        ('{"id": 1}', 'Line 2 of {file} lacks "id" or "set": write lines as `kpi quarantine export` does.'),
        (
            '{"id": "1", "set": {}}',
            'Line 2 of {file} lacks "id" or "set": write lines as `kpi quarantine export` does.',
        ),
        ("7", 'Line 2 of {file} lacks "id" or "set": write lines as `kpi quarantine export` does.'),
        ('{"id": 5, "set": {"a": 2}}', "Line 2 of {file} corrects row 5 a second time: leave one of the lines out."),
    ],
)
def test_a_file_that_is_no_list_of_rows_is_refused(
    quarantine: Quarantine, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 5, "set": {"a": 1}}\n' + text)
    quarantine.fails(problem.replace("{file}", str(file)), "correct", "--from", file, *BECAUSE, code=2)
    missing = tmp_path / "missing.jsonl"
    sentence = f"{missing} cannot be read (No such file or directory): name a file that `export` wrote."
    quarantine.fails(sentence, "correct", "--from", missing, *BECAUSE, code=2)


def test_a_row_of_another_grain_or_too_deep_to_read_is_listed_and_not_decided_on(quarantine: Quarantine) -> None:
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    deep, other = quarantine.aside({**ROW, "weight": nested}), quarantine.aside()
    quarantine.kpi.rows(
        "update ops.quarantine set key = '{\"code\": 7}' where id = %s returning id", other, database=NAME
    )
    listed = json.loads(quarantine("list", "--load-date", quarantine.day, "--format", "json").out)
    assert [(row["id"], row["decision"]) for row in listed] == [(deep, None), (other, None)]
    what = f"of marts.weighed of {quarantine.day} cannot be decided on: it"
    quarantine.fails(
        f"Row {deep} {what} cannot be read (it is nested too deeply: at most 100 lists and objects may lie within each "
        "other): correct it at its source, and deliver the object again.",
        *("discard", deep, "--reason", "x"),
    )
    quarantine.fails(
        f"Row {other} {what} was set aside when marts.weighed had another grain: run its load_date again first.",
        *("discard", other, "--reason", "x"),
    )
    assert quarantine.made() == []


@pytest.mark.nightly
def test_two_people_at_once_lose_nothing(quarantine: Quarantine) -> None:
    ids = [quarantine.aside({"thing_id": n, "weight": -1}) for n in range(2)]

    def discard(id_: int) -> tuple[int, str]:
        words = ("quarantine", "discard", NAME, id_, "--reason", "a test", "--by", f"person {id_}")
        with quarantine.kpi.start(*words, **quarantine.environment) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out + err

    with ThreadPoolExecutor(2) as pool:
        assert [code for code, _ in pool.map(discard, ids)] == [0, 0]
    made = quarantine.made()
    assert [each["in"] for each in made] == ["0001.jsonl", "0002.jsonl"]
    assert {each["by"] for each in made} == {f"person {id_}" for id_ in ids}

    same = quarantine.aside({"thing_id": 5, "weight": -1})
    with ThreadPoolExecutor(2) as pool:
        said = [*pool.map(discard, [same, same])]
    assert sorted(code for code, _ in said) == [0, 1]
    [refused] = [text for code, text in said if code]
    assert f"{quarantine.of(same)} was discarded by person {same} on" in refused
    assert len(quarantine.made()) == 3


def test_a_login_that_may_not_read_what_was_set_aside_is_told_which_role_it_lacks(
    quarantine: Quarantine, kpi: CliHarness
) -> None:
    kpi.execute(
        "drop role if exists looks_only",
        "create role looks_only login password 'looks' in role kpi_reader",
        database="postgres",
    )
    try:
        words = dict(word.split("=", 1) for word in kpi.url(NAME).split())
        server = f"postgresql://looks_only:looks@{words['host']}:{words['port']}/{NAME}"
        said = kpi(
            "quarantine", "list", NAME, code=1, **quarantine.environment, **kpi.servers | {"KPI_POSTGRES_URL": server}
        )
        assert said.err == (
            "error: The login of KPI_POSTGRES_URL may not do this (permission denied for view bad_rows): have an "
            "administrator grant it kpi_reviewer to look at what was set aside, and kpi_loader and kpi_builder to "
            "decide on it.\n"
        )
    finally:
        kpi.execute("drop role looks_only", database="postgres")


def test_status_and_plan_say_what_waits(quarantine: Quarantine, kpi: CliHarness) -> None:
    quarantine.aside()
    quarantine.aside({"thing_id": 8, "weight": -1})
    assert kpi("plan", NAME, **quarantine.environment).line(f"2 rows of marts.weighed of {quarantine.day}") == (
        f"set aside 2 rows of marts.weighed of {quarantine.day} wait for a decision: `kpi quarantine list {NAME} "
        f"--table marts.weighed --load-date {quarantine.day}`."
    )
    assert f"2 rows of marts.weighed of {quarantine.day}" in kpi("status", **quarantine.environment).out
    said = kpi("show", NAME, "raw.things", "--load-date", DAY, **quarantine.environment)
    assert said.line("set aside").startswith(f"set aside 2 rows of raw.things of {DAY} wait for a decision: ")


@pytest.fixture(autouse=True)
def _nothing_is_left(kpi: CliHarness, quarantine: Quarantine) -> Iterator[None]:
    yield
    for entry in kpi.s3.list_objects_v2(Bucket=BUCKET, Prefix="decisions/").get("Contents", []):
        kpi.s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    kpi.execute("update ops.quarantine set state = 'discarded' where table_name <> 'raw.things'", database=NAME)


@pytest.mark.nightly
def test_the_command_that_is_printed_builds_what_was_decided(quarantine: Quarantine, tmp_path: Path) -> None:
    kpi, day = quarantine.kpi, date(2025, 5, 5)
    kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/things/load_date={day}/things.csv", Body=BODY)
    kpi("run", NAME, "--load-date", day, **quarantine.environment)
    listed = json.loads(quarantine("list", "--load-date", day, "--format", "json").out)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"id": listed[1]["id"], "set": {"record": "3,saw,2.00"}}))
    said = quarantine("correct", "--from", file, *BECAUSE)
    command = said.out.splitlines()[-1].split("`")[1]
    assert command == f"kpi run {NAME} --load-date {day} --select raw.things+"
    kpi(*command.split()[1:], **quarantine.environment)
    rows = kpi.rows("select thing_id, weight from marts.weighed where load_date = %s order by 1", day, database=NAME)
    assert [(id_, float(weight)) for id_, weight in rows] == [(1, 20.5), (3, 2.0)]
    after = json.loads(quarantine("list", "--load-date", day, "--format", "json").out)
    assert [(row["place"].rpartition(":")[2], row["state"], row["decision"]) for row in after] == [
        ("3", "waiting", None),
        ("4", "corrected", "correct by ana"),
    ]
    assert "corrected 3,saw,2.00" in " ".join(quarantine("show", after[1]["id"]).out.split())
    plan = kpi("plan", NAME, "--from", day, "--to", day, "--format", "json", **quarantine.environment)
    assert [each["state"] for each in json.loads(plan.out)] == ["published"]
