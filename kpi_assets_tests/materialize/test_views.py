"""Tables with `storage: view` store no rows and are published together with the table that they show."""

from pathlib import Path

import pytest

from kpi_assets.materialize.context import UpstreamError
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

SHOWN = """\
/* @asset
description: Things as delivered, under the names that people use.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {type: integer, description: Thing.}
  kilograms: {type: "numeric(6,2)", description: "Kilograms; NULL if it was not weighed."}
@end */
select
    thing_id,
    weight as kilograms
from raw.things
where load_date = %(load_date)s
"""
HEAVY = """\
/* @asset
description: All things and what they weigh.
owner: team:tests
grain: [things]
columns:
  things: {type: bigint, description: How many things.}
  kilograms: {type: numeric, description: What they weigh.}
@end */
select
    count(*) as things,
    sum(kilograms) as kilograms
from stg.things
where load_date = %(load_date)s
"""
GOOD = b"thing_id,name,weight\n2,saw,\n1,anvil,20.50\n"
LATER = GOOD + b"3,nail,0.01\n"
ROWS = "select load_date, thing_id, kilograms::text from stg.things order by 1, 2"


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("stg/things.sql", SHOWN)
    lab.file("marts/heavy.sql", HEAVY)
    lab.put_things(GOOD)
    return lab


def test_a_view_shows_published_rows_and_has_its_own_publish(things: PipelineHarness) -> None:
    raw = things.build("raw.things")
    outcome = things.build("stg.things")
    assert (outcome.held, outcome.rows, outcome.size_bytes, outcome.results) == (False, 2, 0, [])
    assert outcome.preview == [{"thing_id": "1", "kilograms": "20.50"}, {"thing_id": "2", "kilograms": None}]
    assert things.rows(ROWS) == [(DAY, 1, "20.50"), (DAY, 2, None)]
    assert things.rows("select inputs, rows, manifest_hash from ops.published where asset = 'stg.things'") == [
        ({"raw.things": raw.publish_id}, 2, raw.manifest_hash)
    ]
    assert things.rows("select viewname from pg_views where schemaname = 'stg'") == [("things",)]
    assert things.rows(
        "select obj_description('stg.things'::regclass), col_description('stg.things'::regclass, 3)"
    ) == [("Things as delivered, under the names that people use.", "Kilograms; NULL if it was not weighed.")]


def test_a_table_that_reads_a_view_records_the_publishes_of_view_and_table(things: PipelineHarness) -> None:
    raw, view = things.build("raw.things"), things.build("stg.things")
    heavy = things.build("marts.heavy")
    assert heavy.inputs == {view.relation: view.publish_id, raw.relation: raw.publish_id}

    things.put_things(LATER)
    again = things.build("raw.things")
    [(publish_id, inputs, rows, checksum)] = things.rows(
        "select publish_id, inputs, rows, checksum from ops.published where asset = 'stg.things'"
    )
    assert inputs == {"raw.things": again.publish_id}, "the view is published with the table that it shows"
    assert (rows, checksum) == (3, f"{again.checksum} as thing_id=thing_id,kilograms=weight")
    heavy = things.build("marts.heavy")
    assert heavy.inputs == {view.relation: publish_id, raw.relation: again.publish_id}
    assert heavy.preview == [{"things": "3", "kilograms": "20.51"}]
    assert things.build("stg.things").checksum == checksum


@pytest.mark.parametrize(
    ("gone", "named"), [(["raw.things"], "raw.things"), (["raw.things", "stg.things"], "stg.things")]
)
def test_the_table_of_a_view_must_be_published_as_well(things: PipelineHarness, gone: list[str], named: str) -> None:
    things.build("raw.things")
    things.build("stg.things")
    with things.session() as session:
        session.execute("update ops.publishes set superseded_at = clock_timestamp() where asset = any(%s)", [gone])
    with pytest.raises(UpstreamError) as failure:
        things.build("marts.heavy")
    assert str(failure.value) == (
        f"marts.heavy of 2025-03-01 cannot be built: {named} of that load_date must be published first; build that."
    )


def test_a_view_without_a_file_is_still_published_with_its_table(things: PipelineHarness) -> None:
    things.build("raw.things")
    things.build("stg.things")
    path = things.folder / "stg/things.sql"
    text = path.read_text()
    path.unlink()
    (things.folder / "marts/heavy.sql").unlink()
    things.put_things(LATER)
    again = things.build("raw.things")
    path.write_text(text)
    told = things.rows("select rows, inputs from ops.published where asset = 'stg.things'")
    assert told == [(3, {"raw.things": again.publish_id})]


def test_a_view_is_not_published_for_a_load_date_that_its_table_lacks(things: PipelineHarness) -> None:
    things.build("raw.things")
    with pytest.raises(UpstreamError, match=r"raw\.things of that load_date must be published first"):
        things.build("stg.things", NEXT)


def test_a_view_gets_its_new_columns(things: PipelineHarness) -> None:
    things.build("raw.things")
    things.build("stg.things")
    things.file(
        "stg/things.sql",
        SHOWN.replace("  kilograms:", "  name: {type: text, description: Name.}\n  kilograms:").replace(
            "    weight", "    name,\n    weight"
        ),
    )
    things.build("stg.things")
    assert things.rows("select name, kilograms::text from stg.things order by 1") == [("anvil", "20.50"), ("saw", None)]


def test_a_new_definition_of_a_view_is_recorded_for_all_its_load_dates(things: PipelineHarness) -> None:
    things.put_things(GOOD, NEXT)
    for day in (DAY, NEXT):
        things.build("raw.things", day)
        things.build("stg.things", day)
    things.file("stg/things.sql", SHOWN.replace("kilograms", "kg"))
    things.build("stg.things", NEXT)
    told = things.rows(
        "select v.load_date, v.checksum = t.checksum || ' as thing_id=thing_id,kg=weight', v.code_version, v.columns "
        "from ops.published as v inner join ops.published as t on t.asset = 'raw.things' and v.load_date = t.load_date "
        "where v.asset = 'stg.things' order by 1"
    )
    columns = [["thing_id", "integer"], ["kg", "numeric(6,2)"]]
    code = things.pipeline().table("stg.things").code_version
    assert told == [(DAY, True, code, columns), (NEXT, True, code, columns)]
    assert things.rows("select load_date, kg::text from stg.things where kg is not null order by 1") == [
        (DAY, "20.50"),
        (NEXT, "20.50"),
    ]


def test_a_view_cannot_show_a_column_that_other_load_dates_lack(things: PipelineHarness) -> None:
    things.put_things(GOOD, NEXT)
    for day in (DAY, NEXT):
        things.build("raw.things", day)
        things.build("stg.things", day)
    renamed = RAW_THINGS.replace("  weight:", "  mass:")
    things.file("raw/things.sql", renamed)
    things.file("stg/things.sql", SHOWN.replace("    weight as", "    mass as"))
    body = GOOD.replace(b"weight", b"mass")
    things.put_things(body, NEXT)
    things.build("raw.things", NEXT)
    with pytest.raises(
        DefinitionError,
        match=r"stg\.things cannot show 'mass' yet, which would be NULL in other load_dates: raw\.things was published "
        r"without it from 2025-03-01 to 2025-03-01; build those again first\.$",
    ):
        things.build("stg.things", NEXT)
    assert things.rows(ROWS)[:2] == [(DAY, 1, "20.50"), (DAY, 2, None)]
    things.put_things(body)
    things.build("raw.things")
    things.build("stg.things", NEXT)
    assert things.rows(ROWS)[0] == (DAY, 1, "20.50")


def test_grants_on_a_view_survive_a_change_of_its_columns(things: PipelineHarness) -> None:
    things.build("raw.things")
    things.build("stg.things")
    with things.session() as session:
        session.execute(
            "grant select on stg.things to pg_monitor with grant option; grant select on stg.things to public"
        )
    may = "select grantee, is_grantable from information_schema.role_table_grants where table_name = 'things' and "
    may += "table_schema = 'stg' and grantee <> 'kpi_builder' order by 1"
    before = things.rows(may)
    things.file("stg/things.sql", SHOWN.replace("kilograms", "kg"))
    things.build("stg.things")
    assert things.rows(may) == before == [("PUBLIC", "NO"), ("pg_monitor", "YES")]


def test_a_view_of_the_pipeline_does_not_block_a_type_change(things: PipelineHarness) -> None:
    things.put_things(GOOD, NEXT)
    for name in ("raw.things", "stg.things"):
        things.build(name)
    with things.session() as session:
        session.execute("grant select on stg.things to pg_monitor")
    for name, text in (("raw/things.sql", RAW_THINGS), ("stg/things.sql", SHOWN)):
        things.file(name, text.replace("numeric(6,2)", "numeric(8,2)"))
    things.build("raw.things", NEXT)
    things.build("stg.things", NEXT)
    assert things.rows(
        "select load_date, thing_id, kilograms::text from stg.things where kilograms > 0 order by 1"
    ) == [
        (DAY, 1, "20.50"),
        (NEXT, 1, "20.50"),
    ]
    assert things.rows(
        "select pg_get_userbyid(relowner), has_table_privilege('pg_monitor', oid, 'select') from pg_class "
        "where oid = 'stg.things'::regclass"
    ) == [("kpi_builder", True)]


def test_views_on_views_and_their_comments_survive_a_type_change(things: PipelineHarness) -> None:
    """A KPI that is a view has its `_latest` view on it."""
    kpi = SHOWN.replace("storage: view", "kpi: {chart: {x: thing_id, y: kilograms}}\nstorage: view")
    things.file("marts/weights.sql", kpi)
    for name in ("raw.things", "stg.things", "marts.weights"):
        things.build(name)
    with things.session() as session:
        session.execute("comment on view marts.weights_latest is 'What readers see.'")
        session.execute("grant select on marts.weights_latest to pg_monitor")
    comments = (
        "select c.oid::regclass::text, d.objsubid, d.description from pg_description as d "
        "inner join pg_class as c on d.objoid = c.oid where c.relkind = 'v' and c.relnamespace in "
        "('stg'::regnamespace, 'marts'::regnamespace) order by 1, 2"
    )
    before = things.rows(comments)
    assert ("marts.weights_latest", 0, "What readers see.") in before
    assert ("stg.things", 2, "Thing.") in before or ("stg.things", 1, "Thing.") in before
    things.file("raw/things.sql", RAW_THINGS.replace("numeric(6,2)", "numeric(8,2)"))
    things.file("stg/things.sql", SHOWN.replace("numeric(6,2)", "numeric(8,2)"))
    things.file("marts/weights.sql", kpi.replace("numeric(6,2)", "numeric(8,2)"))
    things.put_things(GOOD, NEXT)
    things.build("raw.things", NEXT)
    assert things.rows(comments) == before
    assert things.rows("select has_table_privilege('pg_monitor', 'marts.weights_latest', 'select')") == [(True,)]
    assert things.rows("select thing_id, kilograms::text from marts.weights_latest order by 1") == [
        (1, "20.50"),
        (2, None),
    ]


def test_a_view_on_which_a_user_s_view_depends_keeps_its_columns(things: PipelineHarness) -> None:
    things.build("raw.things")
    things.build("stg.things")
    with things.session() as session:
        session.execute("create view public.mine as select kilograms from stg.things")
    things.file("stg/things.sql", SHOWN.replace("kilograms", "kg"))
    with pytest.raises(DefinitionError, match=r"stg.things cannot get other columns \(.*view public.mine depends on"):
        things.build("stg.things")
    assert things.rows(ROWS) == [(DAY, 1, "20.50"), (DAY, 2, None)]


@pytest.mark.parametrize(("first", "then"), [("view", "rows"), ("rows", "view")])
def test_a_change_between_view_and_rows_is_refused(things: PipelineHarness, first: str, then: str) -> None:
    things.build("raw.things")
    things.file("stg/things.sql", SHOWN.replace("storage: view", f"storage: {first}"))
    things.build("stg.things")
    things.file("stg/things.sql", SHOWN.replace("storage: view", f"storage: {then}"))
    with pytest.raises(
        DefinitionError, match=f"storage: {first}; to change it, run `kpi drop {things.name} stg.things` and b"
    ):
        things.build("stg.things")


WRONG = {
    "an expression": ("    weight as", "    weight + 1 as", "is for a SELECT of one table's columns as they are"),
    "a condition": ("(load_date)s", "(load_date)s and thing_id > 1", "is for a SELECT of one table's columns"),
    "another grain": ("grain: [thing_id]", "grain: [kilograms]", "keeps the grain of raw.things: thing_id"),
    "another type": ('"numeric(6,2)"', "real", "keeps the types of raw.things: 'kilograms' has another there"),
    "a check": ("@end", "checks:\n  not_null: [kilograms]\n@end", "a view shows what its table shows, before any"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_select_that_is_no_plain_view_is_refused(tmp_path: Path, name: str) -> None:
    old, new, said = WRONG[name]
    for file, text in (("raw/things.sql", RAW_THINGS), ("stg/things.sql", SHOWN.replace(old, new))):
        path = tmp_path / "shop" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "shop/pipeline.yaml").write_text(
        "description: A shop.\nbucket: kpi-shop\nstart_date: 2025-01-01\nlayers: {raw: raw, stg: staging}\n"
    )
    with pytest.raises(ModelError, match=said):
        load_pipelines(tmp_path)


def test_a_kpi_may_be_a_view_with_a_chart(things: PipelineHarness) -> None:
    kpi = "kpi: {chart: {x: thing_id, y: kilograms}}\nstorage: view"
    things.file("marts/weights.sql", SHOWN.replace("storage: view", kpi))
    things.build("raw.things")
    outcome = things.build("marts.weights")
    assert outcome.chart == ([("1", 20.5), ("2", None)], 2)
    assert things.rows("select thing_id, kilograms::text from marts.weights_latest order by 1") == [
        (1, "20.50"),
        (2, None),
    ]
