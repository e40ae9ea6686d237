"""Keys of objects: each load_date has its own, which is read back from it, and listings find all of a range."""

from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpi_assets.model.object_key import ObjectKey

DAY = date(2025, 3, 9)
# Forms that tell the day, with what they write for DAY.
FORMS = {
    "%Y-%m-%d": "2025-03-09",
    "%Y/%m/%d": "2025/03/09",
    "%d.%m.%y": "09.03.25",
    "%-d-%-m-%Y": "9-3-2025",
    "%d%b%Y": "09Mar2025",
    "%B %d, %Y": "March 09, 2025",
    "%Y-%j": "2025-068",
    "%G-W%V-%u": "2025-W10-7",
    "100%%/%Y%m%d": "100%/20250309",
}
KEYS = (
    "raw/a/{load_date}.csv",
    "raw/{load_date:%Y}/{load_date:%m}/a-{load_date}.csv",
    "raw/{load_date:%d-%m-%Y}/a.csv",
    "raw/{load_date:%Y/%d-%m}/a.csv",
    "raw/{load_date:%y%m%d}/a-*.csv",
    "raw/{load_date:%G/W%V}/{load_date:%u}/part-??.csv",
    "raw/{load_date:%Y-%j}/*",
    "raw/{load_date:%Y/%b/%d}/a{load_date:%-m}.csv",
    "raw/*-{load_date}.csv",
    "raw/*{load_date:%Y%m%d}*.csv",
    "{load_date}",
)
DAYS = st.dates(date(1969, 1, 1), date(2068, 12, 31))


@pytest.mark.parametrize(("form", "text"), FORMS.items())
def test_a_form_of_the_date_is_written_and_read_back(form: str, text: str) -> None:
    key = ObjectKey.parse(f"raw/{{load_date:{form}}}/a.csv")
    assert key.key(DAY) == f"raw/{text}/a.csv"
    assert key.match(f"raw/{text}/a.csv") == DAY


@given(DAYS, st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=3))
@settings(deadline=None)
def test_each_load_date_is_read_back_from_its_key(day: date, forms: list[str]) -> None:
    key = ObjectKey.parse("raw/" + "/".join(f"{{load_date:{form}}}" for form in forms) + "/a.csv")
    assert key.load_dates(key.key(day)) == (day,)
    assert key.matches(key.key(day), day)
    assert not key.matches(key.key(day), day + timedelta(days=1))


@given(st.sampled_from(KEYS), DAYS, st.text("0123456789-ab", min_size=1, max_size=6))
@settings(deadline=None)
def test_what_stands_for_a_wildcard_changes_no_load_date(text: str, day: date, filling: str) -> None:
    key = ObjectKey.parse(text)
    full = key.key(day).replace("??", (filling + "ab")[:2]).replace("*", filling)
    assert day in key.load_dates(full)
    assert full.count("/") == key.key(day).count("/")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("raw/{load_date}/{load_date}.csv", "raw/2025-03-09/2025-03-10.csv"),
        ("raw/{load_date:%Y}/{load_date}.csv", "raw/2024/2025-03-09.csv"),
        ("raw/{load_date:%j}/{load_date}.csv", "raw/069/2025-03-09.csv"),
        ("raw/{load_date}.csv", "raw/2025-02-30.csv"),
        ("raw/{load_date}.csv", "raw/2025-13-01.csv"),
        ("raw/{load_date}.csv", "raw/0000-01-01.csv"),
        ("raw/{load_date}.csv", "raw/2025-3-9.csv"),
        ("raw/{load_date}.csv", "raw/\uff12025-03-09.csv"),
        ("raw/{load_date}.csv", "raw/2025-03-09.csv\n"),
        ("raw/{load_date}.csv", "raw/2025-03-09xcsv"),
        ("raw/{load_date:%Y-%j}.csv", "raw/2025-366.csv"),
        ("raw/{load_date:%Y-%j}.csv", "raw/2025-000.csv"),
        ("raw/{load_date:%Y-%j}.csv", "raw/9999-366.csv"),
        ("raw/{load_date:%G-%V-%u}.csv", "raw/2025-53-1.csv"),
        ("raw/{load_date:%-d-%m-%Y}.csv", "raw/09-03-2025.csv"),
        ("raw/{load_date}/*.csv", "raw/2025-03-09/a/b.csv"),
        ("raw/{load_date}/a?.csv", "raw/2025-03-09/a.csv"),
        ("raw/a.csv", "raw/a.csv"),  # of all load_dates
    ],
)
def test_a_key_of_no_load_date_is_read_as_none(text: str, key: str) -> None:
    assert ObjectKey.parse(text).load_dates(key) == ()


def test_a_date_between_two_wildcards_may_be_that_of_two_load_dates() -> None:
    key = ObjectKey.parse("raw/*{load_date}*.csv")
    assert key.load_dates("raw/a2025-03-09b.csv") == (DAY,)
    assert key.load_dates("raw/2025-02-30 2025-03-09.csv") == (DAY,)
    assert key.load_dates("raw/a2025-03-09-2025-03-10.csv") == (DAY, date(2025, 3, 10))
    assert key.match("raw/a2025-03-09-2025-03-10.csv") is None
    told_before = ObjectKey.parse("raw/{load_date}/*{load_date}*.csv")
    assert told_before.load_dates("raw/2025-03-09/2025-03-10-2025-03-09.csv") == (DAY,)


def test_letters_that_mean_something_elsewhere_are_letters_of_the_key() -> None:
    key = ObjectKey.parse("raw/{A1-B2}/[x]+{load_date}({0}).c{}v")
    assert key.key(DAY) == "raw/{A1-B2}/[x]+2025-03-09({0}).c{}v"
    assert key.match("raw/{A1-B2}/[x]+2025-03-09({0}).c{}v") == DAY
    assert key.match("raw/{A1-B2}/xx2025-03-09({0}).c{}v") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not the key of an object"),
        ("/raw/{load_date}.csv", "is not the key of an object"),
        ("raw/../{load_date}.csv", "is not the key of an object"),
        ("raw/{loaddate}.csv", "'{loaddate}' is not known here: write {load_date}"),
        ("raw/{Load_Date}.csv", "is not known here"),
        ("raw/{load_date!r}.csv", "is not known here"),
        ("raw/{name}/{load_date}.csv", "'{name}' is not known here"),
        ("raw/{date:%Y-%m-%d}.csv", "is not known here"),
        ("raw/{%Y-%m-%d}.csv", "is not known here"),
        ("raw/{load_date:%Y-%m-%d %H}.csv", "'%H' is not a part of a date"),
        ("raw/{load_date:%c}.csv", "'%c' is not a part of a date"),
        ("raw/{load_date:%Y-%m-%}.csv", "'%' is not a part of a date"),
        ("raw/{load_date:YYYY}.csv", "names no part of the date"),
        ("raw/{load_date:}.csv", "names no part of the date"),
        ("raw/{load_date:%Y-%m}.csv", "does not tell the day"),
        ("raw/{load_date:%G-%V}.csv", "does not tell the day"),
        ("raw/{load_date:%m-%d}.csv", "does not tell the day"),
        ("raw/{load_date:%Y%-m%d}.csv", "%-m has one digit or two"),
        ("raw/{load_date:%Y-%-m-%-d}*.csv", "%-d has one digit or two"),
        ("raw/1{load_date:%-d-%m-%Y}.csv", "%-d has one digit or two"),
        ("raw/*/{load_date}.csv", "has * before its last segment"),
        ("raw/?/{load_date:%Y/%m}/{load_date}.csv", "has ? before its last segment"),
        ("raw/*{load_date:%Y/%m/%d}.csv", "has * before its last segment"),
        ("raw/{load_date:%Y-*-%m-%d}.csv", "has a wildcard in the form of the date"),
        ("raw/{load_date:%Y}/*{load_date:%m}*{load_date:%d}*", "has its date in pieces"),
        ("raw/*.csv", "has no {load_date}"),
    ],
)
def test_a_key_that_cannot_be_read_back_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        ObjectKey.parse(text)
    assert reason in str(caught.value)


def test_what_a_key_is() -> None:
    assert ObjectKey.parse("raw/{load_date}/a*.csv").is_pattern
    assert not ObjectKey.parse("raw/{load_date}/a.csv").is_pattern
    assert ObjectKey.parse("raw/a.csv").is_reference
    assert not ObjectKey.parse("raw/{load_date:%Y-%j}.csv").is_reference


def listed(key: ObjectKey, keys: list[str], first: date, last: date) -> tuple[list[str], int]:
    """The keys that a listing in order gives, with how many it looks at."""
    listing = key.listing(first, last)
    seen, found = 0, []
    for each in keys:
        if each.startswith(listing.prefix) and each > listing.start_after:
            if listing.is_over(each):
                break
            seen += 1
            if any(first <= day <= last for day in key.load_dates(each)):
                found.append(each)
    return found, seen


@pytest.mark.parametrize("text", KEYS)
def test_a_listing_has_every_key_of_a_range(text: str) -> None:
    """Against reading all of some thousand keys, among them those of other years and centuries, and others' keys."""
    random, key = Random(text), ObjectKey.parse(text)
    days = [date(1998, 12, 1) + timedelta(days=random.randrange(10_000)) for _ in range(1500)]
    days += [date(2024, 12, 20) + timedelta(days=n) for n in range(420)]
    keys = {key.key(day).replace("??", "0a").replace("*", random.choice(["", "~", "00"])) for day in days}
    keys |= {each + random.choice(["", "/", ".tmp", "~"]) for each in sorted(keys) if random.random() < 0.2}
    keys |= {"raw", "raw/", "raw/~", "raw/2025", "raw/2025/", "raw/2025-03-09"}
    ordered = sorted(keys)
    load_dates = {each: key.load_dates(each) for each in ordered}
    for first, last in [
        (date(2025, 1, 1), date(2025, 12, 31)),
        (date(2025, 3, 9), date(2025, 3, 9)),
        (date(2025, 1, 30), date(2025, 2, 2)),
        (date(2024, 12, 28), date(2025, 1, 3)),
        (date(1998, 12, 1), date(2025, 12, 31)),
        (date(2000, 1, 1), date(2000, 1, 1)),
    ]:
        wanted = [each for each in ordered if any(first <= day <= last for day in load_dates[each])]
        assert listed(key, ordered, first, last)[0] == wanted, (first, last)


# every -> the form of a key of each month, year or week, its text on DAY's, and the load_date that it is of.
PERIODS = {
    "month-end": ("%Y-%m", "2025-03", date(2025, 3, 31)),
    "month-start": ("%B %y", "March 25", date(2025, 3, 1)),
    "quarter-end": ("%Y%m", "202503", date(2025, 3, 31)),
    "year-start": ("%Y", "2025", date(2025, 1, 1)),
    "year-end": ("%Y", "2025", date(2025, 12, 31)),
    "tuesday": ("%G-W%V", "2025-W10", date(2025, 3, 4)),
}


@pytest.mark.parametrize("every", PERIODS)
def test_the_key_of_a_period_is_that_of_the_day_on_which_it_comes(every: str) -> None:
    form, text, day = PERIODS[every]
    for pattern in ("raw/{}/a.csv", "raw/{}", "raw/{}/part-*", "raw/a{}-*.csv"):
        key = ObjectKey.parse(pattern.format(f"{{load_date:{form}}}"), every)
        there = pattern.format(text).replace("*", "1")
        assert (key.match(there), key.key(day).replace("*", "1")) == (day, there)
        days = [date(2025, 1, 1) + timedelta(days=n) for n in range(365)]
        assert [each for each in days if key.matches(there, each)] == [day]
        assert [each for each in days if key.has(each) and key.key(each).replace("*", "1") == there] == [day]
        keys = sorted({key.key(each).replace("*", "1") for each in days})
        for first, last in [(day, day), (day - timedelta(days=5), day), (day, day + timedelta(days=5))]:
            assert listed(key, keys, first, last)[0] == [there], (pattern, first, last)
        assert listed(key, keys, day + timedelta(days=1), day + timedelta(days=3))[0] == []
        assert sorted(listed(key, keys, days[0], days[-1])[0]) == [each for each in keys if key.match(each) in days]


@pytest.mark.parametrize(
    ("text", "listing"),
    [
        ("raw/{load_date}/a.csv", ("raw/2025-", "raw/2025-03-08", "raw/2025-12-31")),
        ("raw/{load_date:%Y/%m/%d}/a*.csv", ("raw/2025/", "raw/2025/03/08", "raw/2025/12/31")),
        ("raw/{load_date:%Y}/o-{load_date:%d-%m}.csv", ("raw/2025/o-", "", "raw/2025/o-")),
        ("raw/o-{load_date:%d-%m-%Y}.csv", ("raw/o-", "", "raw/o-")),
        ("raw/o-*-{load_date}.csv", ("raw/o-", "", "raw/o-")),
    ],
)
def test_a_year_is_one_listing_of_what_sorts(text: str, listing: tuple[str, str, str]) -> None:
    assert ObjectKey.parse(text).listing(DAY, date(2025, 12, 31)) == listing


def test_a_listing_of_few_load_dates_looks_at_few_keys() -> None:
    key = ObjectKey.parse("raw/{load_date}/a.csv")
    keys = [key.key(date(2015, 1, 1) + timedelta(days=n)) for n in range(4000)]
    found, seen = listed(key, keys, date(2019, 5, 1), date(2019, 5, 3))
    assert (len(found), seen) == (3, 3)
    assert listed(key, keys, date(2019, 4, 29), date(2019, 5, 3))[1] <= 6  # and the day before


@example(date.min)
@given(st.dates())
def test_the_first_and_last_dates_can_be_listed(day: date) -> None:
    listing = ObjectKey.parse("raw/{load_date}").listing(day, day)
    assert f"raw/{day}".startswith(listing.prefix)
    assert listing.start_after < f"raw/{day}"
    assert not listing.is_over(f"raw/{day}")


def test_a_folder_whose_name_begins_a_date_ends_no_listing() -> None:
    """A store that lists what is in a/ before a-b lists `2025/stray` before `2025-03-01`."""
    listing = ObjectKey.parse("raw/{load_date}.csv").listing(date(2025, 3, 1), date(2025, 3, 9))
    assert not listing.is_over("raw/2025/stray")
    assert not listing.is_over("raw-b/x")
    assert not listing.is_over("raw/2025-03-09.csv")
    assert listing.is_over("raw/2025-03-10.csv")
