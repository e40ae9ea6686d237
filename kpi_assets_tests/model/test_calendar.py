"""Calendars: the days that the words mean, sentences for wrong words, and the tables that are due on a day."""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import EVERY_WORDS, WEEKDAYS, Calendar, described
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import MART, RAW, Tree

WINDOW = "between %(window_start)s and %(load_date)s"
DAYS = [date(1999, 12, 20) + timedelta(days=n) for n in range(3 * 366)]


def slow_is_due(word: str, day: date) -> bool:
    """Say from scratch whether a day is one of a word of `every`."""
    after = day + timedelta(days=1)
    starts, ends = day.day == 1, after.day == 1
    return {
        "day": True,
        "weekday": day.strftime("%a") not in {"Sat", "Sun"},
        "month-start": starts,
        "month-end": ends,
        "quarter-start": starts and day.month in {1, 4, 7, 10},
        "quarter-end": ends and day.month in {3, 6, 9, 12},
        "year-start": starts and day.month == 1,
        "year-end": ends and day.month == 12,
        **{name.lower(): day.strftime("%A") == name for name in WEEKDAYS},
    }[word]


@pytest.mark.parametrize("word", EVERY_WORDS)
def test_each_word_means_its_days(word: str) -> None:
    calendar = Calendar.of([word])  # type: ignore[list-item]
    assert [day for day in DAYS if calendar.is_due(day)] == [day for day in DAYS if slow_is_due(word, day)]


def test_random_calendars_and_their_common_days_are_those_of_a_slow_oracle() -> None:
    numbers = random.Random(14)
    for _ in range(60):
        made = []
        for _ in range(2):
            words = numbers.sample(EVERY_WORDS[1:], numbers.randint(1, 3))
            excepted, since = set(numbers.sample(DAYS, 40)), numbers.choice([date.min, *DAYS[:200]])
            made.append((Calendar.of(words, excepted, since), words, excepted, since))
        (one, *_), (other, *_) = made
        for day in numbers.sample(DAYS, 150):
            due = [
                any(slow_is_due(word, day) for word in words) and day not in excepted and day >= since
                for _, words, excepted, since in made
            ]
            assert [one.is_due(day), other.is_due(day), (one & other).is_due(day)] == [*due, all(due)]
        common = [day for day in DAYS if (one & other).is_due(day)]
        assert list((one & other).between(DAYS[0], DAYS[-1])) == common
        assert not (common and (one & other).is_empty)
        for early, late in pairwise(common):
            assert (one & other).next_after(early) == late


def test_kinds_of_days_that_have_none_in_common_never_meet() -> None:
    empty = [("monday", "tuesday"), ("month-start", "month-end"), ("year-end", "quarter-start"), ("weekday", "sunday")]
    for one, other in empty:
        assert (Calendar.of([one]) & Calendar.of([other])).is_empty  # type: ignore[list-item]
    common = Calendar.of(["monday"]) & Calendar.of(["year-start"])
    assert not common.is_empty
    assert common.next_after(date(2025, 1, 1)) == date(2029, 1, 1)
    assert (Calendar.of(["monday"]) & Calendar.of(["tuesday"])).next_after(date(2025, 1, 1)) is None


def test_gaps_and_windows_are_counted_in_days_of_the_calendar() -> None:
    first, last = date(2025, 1, 1), date(2026, 12, 31)
    holidays = Calendar.of(["weekday"], [date(2025, 12, 25), date(2025, 12, 26)])
    assert [each.longest_gap(first, last) for each in (Calendar(), holidays, Calendar.of(["month-end"]))] == [1, 5, 31]
    assert [holidays.most_within(days, first, last) for days in (1, 2, 3, 7, 8, 28)] == [1, 2, 3, 5, 6, 20]
    assert Calendar().most_within(28, first, last) == 28


def test_decades_are_quick() -> None:
    began = perf_counter()
    days = list(Calendar.of(["weekday", "month-end"], DAYS).between(date(1990, 1, 1), date(2040, 12, 31)))
    assert len(days) == 12_685
    assert perf_counter() - began < 1


def test_only_calendars_of_weekdays_are_by_weekday() -> None:
    words = [["day"], ["weekday"], ["monday", "sunday"], ["month-end"], ["monday", "month-start"]]
    assert [Calendar.of(each, DAYS).is_by_weekday for each in words] == [True, True, True, False, False]  # type: ignore[arg-type]


def test_tables_of_random_pipelines_are_due_as_a_slow_oracle_says(tmp_path: Path) -> None:
    """A table is due if its object is and, one by one, all tables whose rows of the load_date it reads."""
    numbers, tried = random.Random(5), 0
    for number in range(12):
        tree, words, reads = Tree(tmp_path / str(number)), dict[str, list[str]](), dict[str, dict[str, bool]]()
        for name in ("a", "b", "c"):
            words[f"raw.{name}"] = numbers.sample([*EVERY_WORDS], 3)
            source = f"format: csv\n  every: [{', '.join(words[f'raw.{name}'])}]"
            tree.write(f"shop/raw/{name}.sql", RAW.replace("raw/things", f"raw/{name}").replace("format: csv", source))
        for name in "klmnop":
            chosen = numbers.sample([*words, *reads], numbers.randint(1, 3))
            windows = {each: numbers.random() < 0.4 for each in chosen}
            reads[f"marts.{name}"] = windows
            tree.write(f"shop/marts/{name}.sql", joined(windows))
        try:
            shop = tree.load()
        except ModelError as error:
            assert "is never due" in str(error)
            continue
        tried += 1

        def slow(name: str, day: date, words: Mapping[str, list[str]], reads: Mapping[str, dict[str, bool]]) -> bool:
            if name in words:
                return any(slow_is_due(word, day) for word in words[name])
            return all(slow(each, day, words, reads) for each, is_window in reads[name].items() if not is_window)

        for day in (date(2025, 1, 1) + timedelta(days=n) for n in range(0, 500, 3)):
            wanted = {name for name in (*words, *reads) if slow(name, day, words, reads)}
            assert {*map(str, (table.relation for table in shop.due_tables(day)))} - {
                "raw.things",
                "marts.sold",
            } == wanted
    assert tried > 3


def joined(windows: Mapping[str, bool]) -> str:
    """Return a mart that reads tables of its load_date, or over a window where the value is true."""
    rows = [
        f"select thing_id, name from {name} where load_date " + (WINDOW if window else "= %(load_date)s")
        for name, window in windows.items()
    ]
    header = MART.partition("@end */\n")[0] + "@end */\n"
    if any(windows.values()):
        header = header.replace("checks:", "lookback: {days: 7, rows: all}\nchecks:")
    return header + "\nunion all\n".join(rows) + "\n"


def weekly(tree: Tree, words: str = "every: monday") -> Pipeline:
    """Add to the shop a raw table that comes on Mondays and a mart that reads it."""
    prices = RAW.replace("raw/things", "raw/prices").replace("  format: csv\n", f"  format: csv\n  {words}\n")
    tree.write("shop/raw/prices.sql", prices)
    tree.write("shop/marts/priced.sql", MART.replace("raw.things", "raw.prices"))
    return tree.load()


def calendar(tree: Tree, words: str, **files: str) -> Pipeline:
    path = tree.root / "shop/pipeline.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("calendar")))
    path.write_text(path.read_text() + f"calendar: {words}\n")
    for name, text in files.items():
        (tree.root / f"shop/{name}.txt").write_text(text)
    return tree.load()


def due(shop: Pipeline, day: str) -> list[str]:
    return [str(table.relation) for table in shop.due_tables(date.fromisoformat(day))]


def test_a_table_is_due_when_all_is_that_it_reads_of_its_load_date(tree: Tree) -> None:
    shop = weekly(tree)
    both = MART.replace("from raw.things", "from raw.things inner join raw.prices using (load_date, thing_id)")
    tree.write(
        "shop/marts/both.sql", both.replace("    thing_id,\n    name", "    raw.things.thing_id,\n    raw.things.name")
    )
    tree.write("shop/marts/after.sql", MART.replace("raw.things", "marts.both"))
    shop = tree.load()
    assert due(shop, "2025-01-06") == [str(relation) for relation in shop.tables]
    assert due(shop, "2025-01-07") == ["raw.things", "marts.sold"]
    assert shop.is_due(date(2025, 1, 7))
    assert shop.not_due(shop.tables[Relation("marts", "after")], date(2025, 1, 7)) == (
        "marts.after is not due on 2025-01-07, a Tuesday: it reads raw.prices of its load_date, and the object of "
        f"raw.prices comes every monday ({tree.root}/shop/raw/prices.sql)"
    )


def test_a_table_that_reads_another_over_a_window_alone_is_due_without_it(tree: Tree) -> None:
    weekly(tree)
    recent = MART.replace("checks:", "lookback: {days: 7, rows: all}\nchecks:").replace("raw.things", "raw.prices")
    tree.write("shop/marts/recent.sql", recent.replace("= %(load_date)s", WINDOW))
    beside = MART.replace("checks:", "lookback: {days: 7, rows: all}\nchecks:").replace(
        "    thing_id,\n    name", "    t.thing_id,\n    w.name"
    )
    beside = beside.replace(
        "from raw.things\nwhere load_date = %(load_date)s",
        "from raw.prices as t left join raw.prices as w on w.thing_id = t.thing_id and "
        f"w.load_date {WINDOW}\nwhere t.load_date = %(load_date)s",
    )
    tree.write("shop/marts/beside.sql", beside)
    checked = recent.replace("= %(load_date)s", WINDOW).replace(
        "  min_rows", "  foreign_key: {thing_id: raw.prices.thing_id}\n  min_rows"
    )
    tree.write("shop/marts/checked.sql", checked)
    assert due(tree.load(), "2025-01-07") == ["raw.things", "marts.recent", "marts.sold"]


def test_a_load_date_on_which_no_table_is_due_is_not_due(tree: Tree) -> None:
    weekly(tree)
    things = tree.root / "shop/raw/things.sql"
    things.write_text(things.read_text().replace("  format: csv\n", "  format: csv\n  every: [wednesday, month-end]\n"))
    shop = tree.load()
    days = [date(2025, 1, 25) + timedelta(days=n) for n in range(10)]
    assert [day.day for day in days if shop.is_due(day)] == [27, 29, 31, 3]
    assert shop.check_load_date(date(2025, 1, 28)) == date(2025, 1, 28), "it is in the pipeline's calendar"


def test_what_is_not_due_is_listed_for_a_range(tree: Tree) -> None:
    shop = weekly(tree, "since: 2025-01-03")
    assert shop.undue_between(date(2025, 1, 1), date(2025, 1, 4)) == [
        (date(2025, 1, day), name) for day in (1, 2) for name in ("raw.prices", "marts.priced")
    ]
    assert shop.undue_between(date(2025, 1, 3), date(2026, 1, 4)) == []
    assert (shop.has_calendar, Tree(tree.root.parent / "plain").load().has_calendar) == (True, False)


def test_a_day_outside_of_the_calendar_is_no_load_date(tree: Tree) -> None:
    shop = calendar(
        tree, "{every: weekday, except: days.txt}", days="2025-12-25  # Christmas\r\n\n# none\n2025-12-26\n"
    )
    days = shop.load_dates(date(2025, 12, 22), date(2025, 12, 29))
    assert [day.day for day in days] == [22, 23, 24, 29]
    with pytest.raises(UsageError) as caught:
        shop.check_load_date(date(2025, 12, 25))
    assert str(caught.value) == (
        "shop has no load_date 2025-12-25, a Thursday: its calendar is every weekday, except the dates of days.txt "
        f"(calendar in {tree.root}/shop/pipeline.yaml); if something did come on that day, change the calendar first."
    )
    with pytest.raises(UsageError, match="shop has no load_date from 2025-12-25 to 2025-12-28: its calendar is every"):
        shop.load_dates(date(2025, 12, 25), date(2025, 12, 28))
    with pytest.raises(UsageError, match="its first is 2025-01-01"):
        shop.load_dates(date(2024, 12, 28), date(2025, 12, 28))


def test_words_are_described_in_one_order() -> None:
    assert described("day", []) == "every day"
    assert described(["monday"], [date(2025, 1, 6)]) == "every monday, except 2025-01-06"
    dates = [date(2025, 1, 6), date(2025, 1, 13), date(2025, 1, 20)]
    text = "every monday, tuesday and month-end, except 2025-01-06 and 2 more, since 2025-01-01"
    assert described(["monday", "tuesday", "month-end"], dates, date(2025, 1, 1)) == text


WORDS = ", ".join(EVERY_WORDS)
NO_WORDS = "is not a set of words: write each on a line of its own below it, or {word: value, word: value}"
NO_PATH = "is no path below the pipeline's folder: write it from there, as in calendars/holidays.txt"
NO_FILE = "is not in the pipeline's folder: write its path from there, or list the dates"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("{every: weekdays}", "calendar.every: 'weekdays' is no day: write weekday"),
        ("{every: Month_End}", "calendar.every: 'Month_End' is no day: write month-end"),
        ("{every: 5}", f"calendar.every: 5 is no day: write one of {WORDS}, or a list of them"),
        ("{every: {monday: 1}}", f"calendar.every: a set of words is no day: write one of {WORDS}, or a list of them"),
        ("{every: []}", f"calendar.every: the list is empty: name at least one of {WORDS}"),
        ("{every: [monday, xyz]}", f"calendar.every.1: 'xyz' is no day: write one of {WORDS}"),
        ("{every: [monday, monday]}", "calendar.every.1: 'monday' is named twice: take it out once"),
        ("{every: [[monday]]}", f"calendar.every.0: a list is no day: write one of {WORDS}"),
        ("{every:}", "calendar.every: it is empty: write its value, or take the word out"),
        ("weekday", f"calendar: 'weekday' {NO_WORDS}"),
        ("{evry: day}", "unknown word 'calendar.evry': write 'every'"),
        ("{exept: [2025-01-01]}", "unknown word 'calendar.exept': write 'except'"),
        ("{except: 2025-12-25}", "calendar.except: '2025-12-25' is one date: write a list, as in [2025-12-25]"),
        ("{except: [2025-02-30]}", "calendar.except.0: '2025-02-30' is not a date: write it as YYYY-MM-DD"),
        ("{except: [2025-01-01, 1]}", "calendar.except.1: 1 is not a date: write it as YYYY-MM-DD"),
        ("{except: 7}", "calendar.except: 7 is neither: write a list of dates, or the path of a text file with them"),
        ("{except: ../x.txt}", f"calendar.except: '../x.txt' {NO_PATH}"),
        ("{except: /etc/passwd}", f"calendar.except: '/etc/passwd' {NO_PATH}"),
        ("{except: days.txt}", f"calendar.except: 'days.txt' {NO_FILE}"),
    ],
)
def test_each_wrong_value_has_one_sentence(tree: Tree, words: str, error: str) -> None:
    with pytest.raises(Exception, match="pipeline") as caught:
        calendar(tree, words)
    assert str(caught.value) == f"{tree.root}/shop/pipeline.yaml:6: {error}"


def test_a_file_of_dates_is_read_with_its_lines_and_stays_in_the_folder(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="days") as caught:
        calendar(tree, "{except: days.txt}", days="2025-01-01\n25.12.2025\n\n2025-13-01 # no\n")
    assert str(caught.value).splitlines() == [
        f"{tree.root}/shop/days.txt:2: '25.12.2025' is not a date: write it as YYYY-MM-DD",
        f"{tree.root}/shop/days.txt:4: '2025-13-01' is not a date: write it as YYYY-MM-DD",
    ]
    path = tree.root / "shop/days.txt"
    path.write_bytes(b"\xff")
    assert tree.error() == "days.txt:1: is not UTF-8 (byte 0): save it as UTF-8"
    path.write_text("# \n" * 400_000)
    assert tree.error() == "days.txt:1: has 1,200,000 bytes, more than 1,048,576: write less into one file"
    path.unlink()
    path.mkdir()
    assert tree.error() == "days.txt:1: is not a regular file: put one in its place"
    path.rmdir()
    (tmp_path / "elsewhere.txt").write_text("2025-01-01\n")
    path.symlink_to(tmp_path / "elsewhere.txt")
    assert tree.error() == (
        "pipeline.yaml:6: calendar.except: 'days.txt' leads out of the pipeline's folder: put the file itself there"
    )


def test_a_source_has_the_words_too(tree: Tree) -> None:
    with pytest.raises(Exception, match="source") as caught:
        weekly(tree, "every: month_end\n  except: [x]\n  since: 2025-1-1\n  optional: maybe")
    path = f"{tree.root}/shop/raw/prices.sql"
    assert str(caught.value).splitlines() == [
        f"{path}:8: source.every: 'month_end' is no day: write month-end",
        f"{path}:9: source.except.0: 'x' is not a date: write it as YYYY-MM-DD",
        f"{path}:10: source.since: '2025-1-1' is not a date: write it as YYYY-MM-DD",
        f"{path}:11: source.optional: 'maybe' is not true or false: write one of them",
    ]
    (tree.root / "shop/days.txt").write_text("2025-01-06\n")
    shop = weekly(tree, "except: days.txt")
    assert due(shop, "2025-01-06") == ["raw.things", "marts.sold"]


def test_a_table_that_can_never_be_due_is_refused(tree: Tree) -> None:
    weekly(tree)
    things = tree.root / "shop/raw/things.sql"
    things.write_text(things.read_text().replace("  format: csv\n", "  format: csv\n  every: tuesday\n"))
    tree.write(
        "shop/marts/both.sql",
        MART.replace(
            "where load_date = %(load_date)s",
            "inner join marts.priced using (load_date, thing_id)\nwhere load_date = %(load_date)s",
        ).replace("    thing_id,\n    name", "    raw.things.thing_id,\n    raw.things.name"),
    )
    assert tree.error() == (
        "marts/both.sql:14: marts.both is never due: it reads marts.priced (raw.prices every monday) and raw.things "
        "(every tuesday) of its own load_date, which are never due on the same day: read one of them over a window "
        "(lookback), or change when it comes"
    )
    (tree.root / "shop/marts/both.sql").unlink()
    path = tree.root / "shop/pipeline.yaml"
    path.write_text(path.read_text() + "calendar: {every: [monday, saturday]}\n")
    assert tree.error() == (
        "raw/things.sql:1: raw.things is never due: its object comes every tuesday, and no such day is in the calendar "
        "of pipeline.yaml: change one of them"
    )


def test_a_calendar_changes_no_version(tree: Tree) -> None:
    plain = weekly(tree, "every: day").tables[Relation("raw", "prices")]
    found = weekly(tree, "every: monday\n  except: [2025-01-06]\n  since: 2025-02-01\n  optional: true").tables[
        plain.relation
    ]
    for version in ("code_version", "checks_version", "object_version"):
        assert getattr(found, version) == getattr(plain, version)
