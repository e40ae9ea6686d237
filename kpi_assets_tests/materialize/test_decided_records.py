"""Decisions on records of an object that cannot be read are applied in a build."""

import pytest

from kpi_assets.model.decision import Decision, Kind
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.orders_pipeline import a_decision, message
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness, failed

KEY = f"raw/things/load_date={DAY}/things.csv"
BODY = b"thing_id,name,weight\n1,anvil,20.50\n2,stone,heavy\n3,feather\n4,brick,1.00\n"
STATES = "select line, state, reason, decision, corrected from ops.quarantine order by id"
HEAVY, SHORT = "2,stone,heavy", "3,feather"
ROWS = "select thing_id, weight::text from raw.things order by 1"


def declare(lab: PipelineHarness, budget: int) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("columns:", f"quarantine: {{rows: {budget}}}\ncolumns:"))
    lab.put_things(BODY)


def on(kind: Kind, line: int, was: str, now: str = "", number: int = 1) -> Decision:
    put = {"record": now} if now else {}
    return a_decision(kind, {"object": KEY, "line": line}, {"record": was}, number=number, put=put)


def test_a_corrected_and_a_discarded_record(lab: PipelineHarness, decided: list[Decision]) -> None:
    declare(lab, 0)
    decided += [
        on("discard", 3, HEAVY, number=1),
        on("correct", 3, HEAVY, "2,stone,30.25", number=2),
        on("discard", 4, SHORT, number=3),
    ]
    outcome = lab.build("raw.things")
    assert not outcome.held, failed(outcome.results)
    assert lab.rows(ROWS) == [(1, "20.50"), (2, "30.25"), (4, "1.00")]
    assert message(outcome) == "by decision: 1 corrected, 1 discarded"
    assert message(outcome, "rows_accounted") == "4 records in the object = 3 loaded + 1 in quarantine"
    found = lab.rows(STATES)
    assert [(line, state, decision, corrected) for line, state, _, decision, corrected in found] == [
        (3, "corrected", "decisions/0001.jsonl:2", "2,stone,30.25"),
        (4, "discarded", "decisions/0001.jsonl:3", None),
    ]
    assert found[1][2] == "it has 2 fields, not 3"
    counts = "select rows_extracted, rows_loaded_raw, rows_quarantined from ops.pipeline_runs where job = 'raw.things'"
    assert lab.rows(counts) == [(4, 3, 1)]
    again = lab.build("raw.things")
    assert (again.rows, again.checksum) == (outcome.rows, outcome.checksum)


@pytest.mark.parametrize(
    ("now", "reason"),
    few(
        2,
        [
            ("2,stone,light", "it was corrected, and then weight 'light': "),
            ("2,stone", "it was corrected, and then it has 2 fields, not 3"),
            ("2,stone,1\n5,more,2", "it was corrected, and then it is 2 records"),
            ("", "it was corrected, and then "),
        ],
    ),
)
def test_a_correction_that_cannot_be_read_leaves_the_record_with_the_reason(
    lab: PipelineHarness, decided: list[Decision], now: str, reason: str
) -> None:
    declare(lab, 2)
    decided.append(on("correct", 3, HEAVY, now))
    outcome = lab.build("raw.things")
    assert not outcome.held, failed(outcome.results)
    (line, state, said, decision, corrected), _ = lab.rows(STATES)
    assert (line, state, decision, corrected) == (3, "waiting", "decisions/0001.jsonl:1", None)
    assert said.startswith(reason)
    assert message(outcome, "rows_accounted") == "4 records in the object = 2 loaded + 2 in quarantine"
    assert message(outcome).startswith("2 unreadable records, first on line 3, weight 'heavy': ")
    assert message(outcome).endswith("; 1 decision could not be applied: see the reason in ops.quarantine")


def test_a_decision_on_a_record_that_reads_otherwise_or_can_be_read_does_nothing(
    lab: PipelineHarness, decided: list[Decision]
) -> None:
    declare(lab, 2)
    decided += [on("correct", 3, "2,stone,heavier", "2,stone,1"), on("correct", 2, "1,anvil,20.50", "1,anvil,99")]
    outcome = lab.build("raw.things")
    assert lab.rows(ROWS) == [(1, "20.50"), (4, "1.00")]
    assert message(outcome).endswith("; 2 decisions on rows that are not there")
    lab.put_things(b"thing_id,name,weight\n1,anvil,20.50\n2,stone,7.00\n")
    outcome = lab.build("raw.things")
    assert lab.rows(ROWS) == [(1, "20.50"), (2, "7.00")]
    assert message(outcome) == "2 decisions on rows that are not there"


TWICE = b"thing_id,name,weight\n1,anvil,20.50\n2,stone,heavy\n2,stone,heavy\n3,feather\n2,stone,heavy\n"


@pytest.mark.parametrize(
    ("lines", "decided_on"),
    [
        ([3, 6], {3: 1, 6: 2}),  # the line tells apart what reads alike
        ([6, 4], {6: 1, 4: 2}),
        ([9, 7], {3: 2, 4: 1}),  # and in their order those whose lines have others now
        ([4, 9], {4: 1, 3: 2}),
        ([9, 9], {3: 2}),  # two decisions on one record, of which the last counts
    ],
)
def test_a_decision_finds_its_record_on_another_line(
    lab: PipelineHarness, decided: list[Decision], lines: list[int], decided_on: dict[int, int]
) -> None:
    declare(lab, 9)
    lab.put_things(TWICE)
    decided += [on("discard", line, HEAVY, number=number) for number, line in enumerate(lines, start=1)]
    outcome = lab.build("raw.things")
    assert message(outcome).count("decisions on rows that are not there") == 0
    assert message(outcome, "rows_accounted") == "5 records in the object = 1 loaded + 4 in quarantine"
    discarded = "select line, decision from ops.quarantine where state = 'discarded' order by line"
    assert lab.rows(discarded) == sorted(
        (line, f"decisions/0001.jsonl:{number}") for line, number in decided_on.items()
    )


def test_a_corrected_record_that_stands_on_another_line_now_takes_its_place(
    lab: PipelineHarness, decided: list[Decision]
) -> None:
    declare(lab, 9)
    decided.append(on("correct", 7, HEAVY, "2,stone,30.25"))
    outcome = lab.build("raw.things")
    assert lab.rows(ROWS) == [(1, "20.50"), (2, "30.25"), (4, "1.00")]
    assert message(outcome, "rows_accounted") == "4 records in the object = 3 loaded + 1 in quarantine"


JSON = RAW_THINGS.replace("things.csv", "things.json").replace("format: csv", "format: json\n  whole: letters")
OF_JSON = f"raw/things/load_date={DAY}/things.json"
BAD_JSON = '{"thing_id": 2, "name": "stone", "weight": "heavy"}'


def test_a_record_of_json_is_corrected_letter_by_letter(lab: PipelineHarness, decided: list[Decision]) -> None:
    lab.file("raw/things.sql", JSON)
    good = '{"thing_id": 1, "name": "anvil", "weight": 20.50}'
    lab.put(OF_JSON, f"{good}\n{BAD_JSON}\n{{no}}\n".encode())
    now = '{"thing_id": 2,  "name": "stone", "weight": 30.250}'
    for number, (line, was, text) in enumerate([(2, BAD_JSON, now), (3, "{no}", '{"thing_id": 3, "name": null}')]):
        words = {"object": OF_JSON, "line": line}, {"record": was}
        decided.append(a_decision("correct", *words, number=number, put={"record": text}))
    outcome = lab.build("raw.things")
    assert not outcome.held, failed(outcome.results)
    assert lab.rows("select thing_id, weight::text, letters::text from raw.things order by 1") == [
        (1, "20.50", good),
        (2, "30.25", now),
        (3, None, '{"thing_id": 3, "name": null}'),
    ]
    assert message(outcome, "rows_accounted") == "3 records in the object = 3 loaded + 0 in quarantine"
    assert [row[1] for row in lab.rows(STATES)] == ["corrected", "corrected"]
