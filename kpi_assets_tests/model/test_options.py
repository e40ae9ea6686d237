"""The severity and the dimension of the checks of a file: which checks have which, and what that does to versions."""

from datetime import timedelta

import pytest

from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.header import split
from kpi_assets.model.quality import Dimension
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.wait import Wait
from kpi_assets_tests.model.conftest import Tree
from kpi_assets_tests.model.test_checks import PATH, TEXT
from kpi_assets_tests.new_check_words import registered

WORDS = """\
  not_null: [user, weight]
  accepted_values: {user: [ann, bob]}
  range: {weight: [0, null], thing_id: [1, 9]}
  unique: {buyer: [user]}
  foreign_key: {thing_id: raw.catalog.id}
  reconcile: {source: raw.lines}
  heavy: {bad_rows: "select * from {this} where weight > 50"}
  every_kilo: {reconcile: {source: raw.kilos, sum: kilos, here: weight}}
  min_rows: {at_least: 1}
"""
RAW = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
source: {object: "raw/things/load_date={load_date}/things.csv", format: csv}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
checks:
  CHECKS
@end */
"""


def expanded(checks: str, text: str = TEXT) -> dict[str, TableCheck]:
    header, lines, _ = split(PATH, text.replace("CHECKS", checks))
    return {check.name: check for check in expand(header, PATH, lines)}


def of_raw(checks: str) -> dict[str, TableCheck]:
    return expanded(checks, RAW)


def warnings(checks: dict[str, TableCheck]) -> set[str]:
    return {name for name, check in checks.items() if not check.blocking}


def dimensions(checks: dict[str, TableCheck]) -> dict[str, Dimension | None]:
    return {name: check.dimension for name, check in checks.items()}


BY_ITSELF = {
    "grain": "uniqueness",
    "min_rows": None,
    "not_null": "completeness",
    "accepted_values__user": "validity",
    "range__weight": "validity",
    "range__thing_id": "validity",
    "unique__buyer": "uniqueness",
    "foreign_key__thing_id": "referential_integrity",
    "reconcile": "consistency",
    "heavy": "validity",
    "every_kilo": "consistency",
}


def test_by_itself_every_check_holds_and_has_the_dimension_of_its_word() -> None:
    checks = expanded(WORDS)
    assert warnings(checks) == set()
    assert dimensions(checks) == BY_ITSELF
    assert dimensions(of_raw("not_null: [name]")) == {
        "rows_accounted": None,
        "quarantine": "validity",
        "not_seen_before": None,
        "grain": "uniqueness",
        "min_rows": None,
        "not_null": "completeness",
    }


def test_the_severity_of_a_file_is_that_of_the_words_that_it_has() -> None:
    checks = expanded(f"  severity: warn\n{WORDS}")
    assert warnings(checks) == {*checks} - {"grain", "heavy", "every_kilo"}
    assert dimensions(checks) == BY_ITSELF
    assert warnings(expanded(f"  severity: error\n{WORDS}")) == set()


def test_the_severity_of_a_file_is_not_that_of_checks_without_a_word() -> None:
    checks = of_raw("severity: warn\n  not_null: [name]")
    assert warnings(checks) == {"not_null", "not_seen_before"}, "not_seen_before warns by itself"
    assert checks["min_rows"].blocking, "the file does not have the word"


@pytest.mark.parametrize(
    ("file", "word", "warned"),
    [
        ("", "range: {weight: [0, null], thing_id: [1, 9], severity: warn}", {"range__weight", "range__thing_id"}),
        ("", "not_null: {columns: [user], severity: warn}", {"not_null"}),
        ("", "not_null: {columns: [user], severity: error}", set()),
        ("", "not_null: {columns: [user]}", set()),
        ("", "accepted_values: {user: [ann], severity: warn}", {"accepted_values__user"}),
        ("", "unique: {buyer: [user], severity: warn}", {"unique__buyer"}),
        ("", "foreign_key: {thing_id: raw.catalog.id, severity: warn}", {"foreign_key__thing_id"}),
        ("", "reconcile: {source: raw.lines, severity: warn}", {"reconcile"}),
        ("", "min_rows: {at_least: 3, severity: warn}", {"min_rows"}),
        ("warn", "range: {weight: [0, null], severity: error}", set()),
        ("warn", "range: {weight: [0, null], dimension: consistency}", {"range__weight"}),
        ("error", "range: {weight: [0, null], severity: warn}", {"range__weight"}),
    ],
)
def test_a_word_may_say_its_own_severity(file: str, word: str, warned: set[str]) -> None:
    checks = expanded(f"  severity: {file}\n  {word}\n" if file else f"  {word}\n")
    assert warnings(checks) == warned
    assert len(checks) >= 2, "the word still has its checks"


@pytest.mark.parametrize(
    ("word", "name", "dimension"),
    [
        ("range: {weight: [0, null], dimension: consistency}", "range__weight", "consistency"),
        ("not_null: {columns: [user], dimension: validity, severity: warn}", "not_null", "validity"),
        ("min_rows: {at_least: 3, dimension: completeness}", "min_rows", "completeness"),
        ("heavy: {bad_rows: 'select * from {this}', dimension: uniqueness}", "heavy", "uniqueness"),
        ("kilos: {reconcile: {source: raw.kilos}, dimension: validity}", "kilos", "validity"),
    ],
)
def test_a_word_may_say_its_own_dimension(word: str, name: str, dimension: str) -> None:
    assert dimensions(expanded(f"  {word}\n"))[name] == dimension


def test_a_default_minimum_may_be_a_warning() -> None:
    for word in ("min_rows: {severity: warn}", "severity: warn\n  min_rows: {dimension: validity}"):
        checks = of_raw(word)
        assert (checks["min_rows"].blocking, checks["min_rows"].description) == (False, "At least 1 row.")


@pytest.mark.parametrize(
    "word", ["range: {severity: warn}", "not_null: {columns: [], severity: warn}", "reconcile: {dimension: validity}"]
)
def test_an_option_of_a_word_that_demands_nothing_is_refused(word: str) -> None:
    with pytest.raises(ModelError) as caught:
        expanded(f"  {word}\n")
    name = word.partition(":")[0]
    assert str(caught.value) == (
        f"{PATH}:10: checks.{name}: it demands nothing, so nothing has its severity or dimension: say what it "
        "demands, or take it out"
    )


def test_a_new_word_has_both_options() -> None:
    with registered():
        checks = expanded(
            "  max_rows: {at_most: 3, severity: warn}\n  spread: {weight: 2, severity: warn, dimension: validity}\n"
        )
        assert warnings(checks) == {"max_rows", "spread__weight"}
        assert [dimensions(checks)[name] for name in ("max_rows", "spread__weight")] == [None, "validity"]
        assert warnings(expanded("  severity: warn\n  max_rows: {at_most: 3}\n")) == {"max_rows"}


def test_options_are_part_of_the_versions_of_the_checks_alone(tree: Tree) -> None:
    def versions(checks: str) -> tuple[str, str, str]:
        tree.write("shop/raw/things.sql", RAW.replace("CHECKS", checks))
        table = tree.load().table("raw.things")
        return table.code_version, table.checks_version, table.object_version

    plain = versions("not_null: [name]")
    assert versions("not_null: {columns: [name]}") == plain
    assert versions("not_null: {columns: [name], waivable: false}") == plain
    severe = versions("not_null: {columns: [name], severity: warn}")
    assert versions("not_null: {columns: [name], severity: warn, waivable: false}") == severe
    own = "light: {bad_rows: 'select * from {this}'WORD}"
    assert versions(own.replace("WORD", ", waivable: false")) == versions(own.replace("WORD", ""))
    assert versions("severity: error\n  not_null: [name]") == plain
    found = [
        versions(checks)
        for checks in (
            "severity: warn\n  not_null: [name]",
            "not_null: {columns: [name], severity: warn}",
            "not_null: {columns: [name], dimension: validity}",
            "not_null: [name]\nquality: {}",
            "not_null: [name]\nquality: {at_least: 80}",
        )
    ]
    assert {(code, of_object) for code, _, of_object in found} == {(plain[0], plain[2])}
    assert len({plain[1], *(checks for _, checks, _ in found)}) == 6


def test_the_score_is_the_last_check_and_no_other_may_have_its_name() -> None:
    text = TEXT.replace("columns:", "quality: {at_least: 80}\ncolumns:")
    checks = expanded("  not_null: [user]\n", text)
    [*_, (name, score)] = checks.items()
    assert (name, score.line, score.blocking, score.dimension, score.description) == (
        *("quality", 5, True, None, "The quality score is at least 80 of 100."),
    )
    told = expanded("  not_null: [user]\n", text.replace("{at_least: 80}", "{}"))["quality"]
    assert (told.blocking, told.description) == (False, "The quality score, of 100; it holds nothing.")
    with pytest.raises(ModelError) as caught:
        expanded("  quality: {bad_rows: 'select * from {this}'}\n", text)
    assert str(caught.value) == f"{PATH}:11: two checks are called 'quality': rename this one"


ODD = 'odd: {bad_rows: "select * from {this} where weight > 5", severity: alert'


@pytest.mark.parametrize(
    ("check", "wait", "dimension"),
    [
        (f"{ODD}}}", Wait(), None),
        (f"{ODD}, for: 10 minutes}}", Wait(time=timedelta(minutes=10)), None),
        (f"{ODD}, for: 1 hour, dimension: consistency}}", Wait(time=timedelta(hours=1)), "consistency"),
        (f"{ODD}, for: 3 load_dates}}", Wait(load_dates=3), None),
        ("range: {weight: [0, null], severity: alert, for: 2 load_dates}", Wait(load_dates=2), "validity"),
        ("not_null: {columns: [user], severity: alert}", Wait(), "completeness"),
    ],
)
def test_a_check_that_alerts_never_holds_and_waits_as_long_as_it_says(
    check: str, wait: Wait, dimension: Dimension | None
) -> None:
    found = [each for each in expanded(f"  {check}\n").values() if each.alert]
    assert [(each.alert, each.blocking, each.dimension) for each in found] == [(wait, False, dimension)]


def test_other_checks_tell_nobody() -> None:
    assert {check.alert for check in expanded(f"  severity: warn\n{WORDS}").values()} == {None}


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        ("3 load_dates", "3 load_dates"),
        ("1 load_date", "1 load_date"),
        ("1 minutes", "1 minute"),
        ("2 hours", "120 min"),
    ],
)
def test_how_long_an_alert_waits_is_said_in_words(wait: str, said: str) -> None:
    assert str(expanded(f"  {ODD}, for: {wait}}}\n")["odd"].alert).startswith(said)


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (f"{ODD}, for: 3}}", "checks.odd.for: 3 is no time that an alert waits: write `10 minutes`, up to a week"),
        (f"{ODD}, for: 0 minutes}}", "checks.odd.for: '0 minutes' is no time that an alert waits"),
        (f"{ODD}, for: 11000 minutes}}", "checks.odd.for: '11000 minutes' is no time that an alert waits"),
        (f"{ODD}, for: 401 load_dates}}", "'401 load_dates' is no time that an alert waits"),
        (f"{ODD}, for: 10 seconds}}", "'10 seconds' is no time that an alert waits"),
        (
            f"{ODD.replace('alert', 'warn')}, for: 2 minutes}}",
            "checks.odd.for: is how long an alert waits: write sever",
        ),
        ("range: {weight: [0, 1], for: 2 minutes}", "checks.range.for: is how long an alert waits: write severity: al"),
        ("severity: alert", "'alert' is no severity: write error or warn for the words of this file"),
    ],
)
def test_a_wait_that_makes_no_sense_is_refused(check: str, problem: str) -> None:
    with pytest.raises(ModelError) as error:
        expanded(f"  {check}\n")
    assert problem in str(error.value)


def test_a_word_and_a_check_of_ones_own_may_say_that_nobody_waives_them() -> None:
    checks = expanded(
        "  range: {weight: [0, null], waivable: false}\n  not_null: [user]\n"
        "  heavy: {bad_rows: 'select * from {this}', waivable: false}\n"
    )
    assert [name for name, check in checks.items() if not check.waivable] == ["range__weight", "heavy"]
