"""What a publish changes besides rows: it resets storage settings, and writes only the comments that differ."""

import pytest

from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

OPTIONS = "select distinct reloptions from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'"
COMMENTS = (
    "select objsubid, description, xmin::text from pg_description where objoid = 'raw.things'::regclass order by 1"
)


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.put_things(GOOD)
    lab.put_things(GOOD, NEXT)
    return lab


def test_published_tables_are_autovacuumed_and_candidates_are_not(things: PipelineHarness) -> None:
    assert not things.build("raw.things").held
    assert things.rows(OPTIONS) == [(None,)]
    things.put_things(b"thing_id,name,weight\n1,anvil,1\n1,anvil,1\n", NEXT)
    assert things.build("raw.things", NEXT).held
    assert things.rows(f"{OPTIONS} and not relispartition") == [(["autovacuum_enabled=false"],)]


def test_only_comments_that_differ_are_written(things: PipelineHarness) -> None:
    things.build("raw.things", DAY)
    first = things.rows(COMMENTS)
    assert [(number, text) for number, text, _ in first] == [
        (0, "Things as delivered."),
        (1, "Day on which the source files landed."),
        (2, "Thing."),
        (3, "Name, any text."),
        (4, "Kilograms; NULL if it was not weighed."),
    ]
    things.build("raw.things", NEXT)
    assert things.rows(COMMENTS) == first, (
        "a comment that does not change is not written, because COMMENT locks the table"
    )

    things.file("raw/things.sql", (things.folder / "raw/things.sql").read_text().replace("Thing.}", "A thing.}"))
    things.build("raw.things", NEXT)
    changed = things.rows(COMMENTS)
    assert [text for _, text, _ in changed][2] == "A thing."
    assert [row for row in changed if row[0] != 2] == [row for row in first if row[0] != 2]
