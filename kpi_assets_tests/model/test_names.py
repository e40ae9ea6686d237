"""The names of tables, objects and inputs as text: every written name is read back, and other text is refused."""

from datetime import date

import pytest

from kpi_assets.model.names import InputName, Relation, is_asset, is_object

THINGS = Relation("raw", "things")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (THINGS, "raw.things"),
        (Relation("s3", "things"), "s3.things"),
        (THINGS.decisions, "decisions.raw__things"),
        (InputName(THINGS), "raw.things"),
        (InputName(THINGS, date(2025, 3, 1)), "raw.things@2025-03-01"),
        (InputName(THINGS, date(2025, 3, 1), is_up_to=True), "raw.things@..2025-03-01"),
    ],
)
def test_a_written_name_is_read_back(name: Relation | InputName, text: str) -> None:
    assert (str(name), type(name).parse(text)) == (text, name)


@pytest.mark.parametrize(
    "text", ["", "things", "Raw.things", "raw.things.more", "raw.things@", "raw.things@..", "raw.things@yesterday"]
)
def test_other_text_is_not_the_name_of_an_input(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema\.table|isoformat"):
        InputName.parse(text)


@pytest.mark.parametrize(
    ("text", "asset", "is_s3"),
    [("raw.things", True, False), ("s3.things", True, True), ("shop_recheck", False, False), ("", False, False)],
)
def test_the_name_of_an_asset_differs_from_the_job_of_a_run(text: str, asset: bool, is_s3: bool) -> None:
    assert (is_asset(text), is_object(text)) == (asset, is_s3)
