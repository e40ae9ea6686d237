"""Objects are written again without erased persons, counted, and what ops knew of the old bytes confirms nothing."""

import hashlib
import json
from datetime import date, timedelta
from typing import Any

import pytest

from kpi_assets.ledger.manifest_links import Link
from kpi_assets.materialize import rewrite as rewriting
from kpi_assets.materialize.erasures import erased_of
from kpi_assets.materialize.rewrite import objects_to_read, rewrite
from kpi_assets.sources.refusals import LakeError
from kpi_assets_tests.materialize.test_erasures import FOUR, HEADER, RAW, accounted, deliver, erase
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness
from kpi_assets_tests.sales_api import FILES, SalesPipeline

KEY = f"raw/customers/load_date={DAY}/customers.csv"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/customers.sql", RAW)
    return lab


def rewritten(lab: PipelineHarness, table: str = "raw.customers") -> list[Link]:
    """Write all objects of a table again, as `kpi erase` does."""
    context = lab.prepared()
    of_table = context.pipeline.table(table)
    with context.session(of_table, "erase") as connection:
        erased = erased_of(context, connection, of_table)
        assert erased
        found = [
            rewrite(context, connection, of_table, manifest, erased, 1)
            for manifest in objects_to_read(context, connection, of_table, erased)
        ]
    return [each for each in found if each]


def land(lab: PipelineHarness, day: date, *rows: str) -> None:
    lab.put(f"raw/customers/load_date={day}/customers.csv", (HEADER + "".join(f"{row}\n" for row in rows)).encode())


def read(lab: PipelineHarness, table: str = "raw.customers") -> list[str]:
    """Return the keys of the objects that an erasure reads."""
    context = lab.prepared()
    of_table = context.pipeline.table(table)
    with context.session(of_table, "erase") as connection:
        erased = erased_of(context, connection, of_table)
        assert erased
        return [each.key for each in objects_to_read(context, connection, of_table, erased)]


def days_read(lab: PipelineHarness) -> list[int]:
    """Return the same as days after DAY."""
    return [(date.fromisoformat(key.split("/")[2].removeprefix("load_date=")) - DAY).days for key in read(lab)]


def body(lab: PipelineHarness, key: str = KEY) -> str:
    return str(lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read().decode())


def counts(link: Link) -> tuple[int, int, int | None]:
    return link.records_before, link.records_erased, link.records_after


def test_an_object_has_all_other_bytes_and_ops_nothing_that_confirms_a_guess(lab: PipelineHarness) -> None:
    deliver(lab, *FOUR)
    lab.put(f"raw/customers/load_date={NEXT}/customers.csv", f"{HEADER}1,ana@x.org,1.00\n".encode())
    before = lab.build("raw.customers")
    known = lab.rows("select etag, sha256, manifest_hash from ops.manifests")[0]
    erase(lab, "2", "4")

    [link] = rewritten(lab)

    assert counts(link) == (4, 2, 2)
    assert body(lab) == f"{HEADER}{FOUR[0]}\n{FOUR[2]}\n"
    assert link.new_sha256 == hashlib.sha256(body(lab).encode()).hexdigest()
    everything = lab.rows(
        "select to_jsonb(m)::text from ops.manifests as m union all select to_jsonb(p)::text from ops.publishes as p "
        "union all select to_jsonb(l)::text from ops.manifest_links as l"
    )
    assert not [row for (row,) in everything for each in known if each.strip('"') in row]
    [(manifest_hash,)] = lab.rows("select manifest_hash from ops.publishes")
    assert manifest_hash == link.old_manifest_hash != before.manifest_hash

    outcome = lab.build("raw.customers")
    assert accounted(outcome) == "2 records in the object = 2 loaded + 0 in quarantine + 0 erased"
    assert rewritten(lab) == []  # again, there is nothing to do


def test_a_record_that_cannot_be_read_goes_by_its_words(lab: PipelineHarness) -> None:
    deliver(lab, *FOUR[:2], '2,"bob@x.org,2.00', "22,eve@x.org,more,fields", '12,"x', "4;more")
    erase(lab, "2", "4")
    [link] = rewritten(lab)
    assert counts(link) == (6, 3, 3)
    assert body(lab) == f'{HEADER}{FOUR[0]}\n22,eve@x.org,more,fields\n12,"x\n'


def test_numbers_of_records_are_those_of_the_object_as_it_is(lab: PipelineHarness) -> None:
    lab.file("raw/customers.sql", RAW.replace("format: csv", "format: csv\n  position: n"))
    deliver(lab, *FOUR)
    here = "select n, customer_id from raw.customers order by 1"
    erase(lab, "2")
    assert accounted(lab.build("raw.customers")) == "4 records in the object = 3 loaded + 0 in quarantine + 1 erased"
    assert lab.rows(here) == [(1, 1), (3, 3), (4, 4)]
    [link] = rewritten(lab)
    assert counts(link) == (4, 1, 3)
    assert accounted(lab.build("raw.customers")) == "3 records in the object = 3 loaded + 0 in quarantine + 0 erased"
    assert lab.rows(here) == [(1, 1), (2, 3), (3, 4)]


def test_who_was_interrupted_goes_on_where_the_object_shows(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(lab, *FOUR)
    lab.build("raw.customers")
    erase(lab, "2")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # before the object is written
        patched.setattr(type(lab.store), "replace", killed)
        rewritten(lab)
    assert body(lab) == HEADER + "".join(f"{row}\n" for row in FOUR)
    links = "select records_after, done_at is not null from ops.manifest_links"
    assert lab.rows(links) == [(None, False)]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # after it was written
        patched.setattr(rewriting.ledger, "forget", killed)
        rewritten(lab)
    assert body(lab) == HEADER + "".join(f"{row}\n" for row in FOUR if row != FOUR[1])
    assert lab.rows(links) == [(None, False)]
    old = "select count(*) from ops.manifests where key = '{}' and length(etag) < 64"
    assert lab.rows(old.format(KEY)) == [(1,)]

    [link] = rewritten(lab)
    assert counts(link) == (4, 1, 3)
    assert lab.rows(links) == [(3, True)]
    assert lab.rows(old.format(KEY)) == [(0,)]


def test_an_object_that_was_replaced_meanwhile_is_left_alone(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(lab, *FOUR)
    erase(lab, "2")
    begin = rewriting.ledger.begin

    def replaced(*given: Any) -> None:
        begin(*given)
        deliver(lab, "2,bob@x.org,9.00", "7,new@x.org,1.00")

    with monkeypatch.context() as patched, pytest.raises(LakeError, match="was replaced or removed"):
        patched.setattr(rewriting.ledger, "begin", replaced)
        rewritten(lab)
    assert body(lab) == f"{HEADER}2,bob@x.org,9.00\n7,new@x.org,1.00\n"
    [link] = rewritten(lab)
    assert counts(link) == (2, 1, 1)
    assert body(lab) == f"{HEADER}7,new@x.org,1.00\n"


def test_an_object_of_several_parts_is_uploaded_in_parts_with_what_was_written_beside_it(
    lab: PipelineHarness,
) -> None:
    rows = "".join(f"{number},{'x' * 1000}@x.org,1.00\n" for number in range(1, 20_001))
    lab.s3.put_object(Bucket=lab.bucket, Key=KEY, Body=(HEADER + rows).encode(), Metadata={"kpi-asked": "yes"})
    erase(lab, "1", "20000", "30000")
    [link] = rewritten(lab)
    assert counts(link) == (20_000, 2, 19_998)
    head = lab.s3.head_object(Bucket=lab.bucket, Key=KEY)
    assert (head["Metadata"], head["ContentLength"]) == ({"kpi-asked": "yes"}, len(HEADER + rows) - 1014 - 1018)


def test_earlier_versions_of_the_object_are_gone_too(lab: PipelineHarness) -> None:
    lab.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    deliver(lab, *FOUR, "2,before@x.org,1.00")
    deliver(lab, *FOUR)
    lab.build("raw.customers")
    erase(lab, "2")
    [link] = rewritten(lab)
    assert (link.versions_deleted, link.versions_kept) == (2, [])
    versions = lab.s3.list_object_versions(Bucket=lab.bucket, Prefix=KEY).get("Versions", [])
    assert [each["IsLatest"] for each in versions] == [True]


def test_each_object_of_a_load_date_is_written_again_and_their_sum_confirms_nothing(lab: PipelineHarness) -> None:
    lab.file("raw/parts.sql", RAW.replace("customers/load_date={load_date}/customers.csv", "parts/{load_date}/*.csv"))
    for name, rows in (("a", FOUR[:2]), ("b", FOUR[2:])):
        lab.put(f"raw/parts/{DAY}/{name}.csv", (HEADER + "\n".join(rows) + "\n").encode())
    lab.build("raw.parts")
    known = lab.rows("select sha256, etag, manifest_hash from ops.manifests")[0]
    [part] = lab.rows("select sha256, etag from ops.manifest_parts where key like '%/a.csv'")
    erase(lab, "2")
    [link] = rewritten(lab, "raw.parts")
    assert (link.key, *counts(link)) == (f"raw/parts/{DAY}/a.csv", 2, 1, 1)
    ops = json.dumps(
        lab.rows("select to_jsonb(m) from ops.manifests as m")
        + lab.rows("select to_jsonb(p) from ops.manifest_parts as p")
    )
    assert not [each for each in (*known, *part) if each.strip('"') in ops]
    assert lab.build("raw.parts").rows == 3


def test_rows_that_stay_have_the_same_values_in_the_object_as_a_load_gave_them(lab: PipelineHarness) -> None:
    lab.file("raw/customers.sql", RAW.replace("type: bigint", "type: text").replace("@end", "erase: values\n@end"))
    deliver(lab, *FOUR, '"2,bob@x.org,2.00')
    erase(lab, "2")
    before = lab.build("raw.customers")
    [link] = rewritten(lab)
    assert counts(link) == (5, 2, 4)
    assert body(lab) == f"{HEADER}{FOUR[0]}\nerased-000000000000,,2.00\n{FOUR[2]}\n{FOUR[3]}\n"
    assert lab.build("raw.customers").checksum == before.checksum
    assert rewritten(lab) == []


def test_an_object_is_passed_by_unread_only_if_its_rows_prove_that_it_has_nobody(lab: PipelineHarness) -> None:
    others = (FOUR[0], FOUR[2])
    days = [DAY + timedelta(days=number) for number in range(9)]
    for day in days[:8]:
        land(lab, day, *others)
    land(lab, days[1], *FOUR)  # the person
    land(lab, days[2], *others, "5,eve@x.org,much")  # a record in quarantine
    for day in days[:7]:
        lab.build("raw.customers", day)
    land(lab, days[3], *others[::-1])  # replaced since
    lab.rows(f"delete from raw.customers where load_date = '{days[4]}' and customer_id = 1 returning 1")
    lab.rows(f"delete from raw.customers where load_date = '{days[5]}' returning 1")  # as retention drops them
    decided = '{"decisions.raw__customers": 1}'
    lab.rows(f"update ops.publishes set inputs = '{decided}' where load_date = '{days[6]}' returning 1")
    # That of days[7] was never published.
    erase(lab, "2")
    land(lab, days[8], *FOUR)
    assert not lab.build("raw.customers", days[8]).held  # it left the person out
    assert days_read(lab) == [1, 2, 3, 4, 5, 6, 7, 8]

    erase(lab, "3")
    assert days_read(lab) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_rows_that_were_made_by_another_header_prove_nothing(lab: PipelineHarness) -> None:
    deliver(lab, *FOUR)
    erase(lab, "9")
    assert read(lab) == [KEY]  # there is no table yet
    lab.build("raw.customers")
    assert read(lab) == []
    lab.file("raw/customers.sql", RAW.replace("type: bigint", "type: text"))
    assert read(lab) == [KEY]


def test_each_of_several_objects_is_passed_by_if_all_of_their_records_are_rows(lab: PipelineHarness) -> None:
    lab.file("raw/parts.sql", RAW.replace("customers/load_date={load_date}/customers.csv", "parts/{load_date}/*.csv"))
    keys = [f"raw/parts/{DAY}/{name}.csv" for name in ("a", "b")]
    for key, rows in zip(keys, (FOUR[:2], FOUR[2:]), strict=True):
        lab.put(key, (HEADER + "\n".join(rows) + "\n").encode())
    lab.build("raw.parts")
    erase(lab, "9")
    assert read(lab, "raw.parts") == []
    lab.put(keys[1], (HEADER + FOUR[2] + "\n").encode())
    assert read(lab, "raw.parts") == keys[1:]
    lab.build("raw.parts")
    erase(lab, "1")
    assert read(lab, "raw.parts") == keys


def test_an_object_is_read_if_another_key_stands_for_a_person_in_its_rows(lab: PipelineHarness) -> None:
    lab.file("raw/customers.sql", RAW.replace("type: bigint", "type: text").replace("@end", "erase: values\n@end"))
    deliver(lab, *FOUR)
    erase(lab, "2")
    lab.build("raw.customers")
    assert read(lab) == [KEY]
    erase(lab, "9")
    land(lab, NEXT, *FOUR[2:])
    lab.build("raw.customers", NEXT)
    assert read(lab) == [KEY]


def test_who_was_interrupted_goes_on_although_the_load_date_was_built_meanwhile(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(lab, *FOUR)
    lab.build("raw.customers")
    erase(lab, "2")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rewriting.ledger, "forget", killed)
        rewritten(lab)
    lab.build("raw.customers")
    [link] = rewritten(lab)
    assert counts(link) == (4, 1, 3)
    old = "select count(*) from ops.manifests where length(etag) < 64"
    assert lab.rows(old) == [(1,)]  # that of the new object
    assert read(lab) == []


def test_an_object_that_an_api_gave_stays_as_it_was_but_for_the_persons(sales: SalesPipeline) -> None:
    raw = FILES["raw/north_sales.sql"].replace("grain: [record_no]", "grain: [sale_id]")
    raw = raw.replace("  position: record_no\n", "").replace("columns:", "subject: {buyer: sale_id}\ncolumns:")
    sales.file("raw/north_sales.sql", raw.replace("description: Sale.}", "description: Sale., pii: id}"))
    day, key = sales.day, sales.key("north", sales.day)
    assert {*sales.run(day).values()} == {"published"}
    asked = sales.s3.head_object(Bucket=sales.bucket, Key=key)["Metadata"]
    erase(sales, "2", kind="buyer")

    [link] = rewritten(sales, "raw.north_sales")

    assert counts(link) == (3, 1, 2)
    pages = [
        b'{"data": [{"sale_id": 1, "amount": "0.50"}], "total": 3}',
        b'{"data": [{"sale_id": 3, "amount": "2.50"}], "total": 3}',
    ]
    assert sales.body("north", day) == b"".join(pages)
    assert sales.s3.head_object(Bucket=sales.bucket, Key=key)["Metadata"] == asked
    sales.api.asked.clear()
    assert {*sales.run(day).values()} == {"published"}
    assert sales.api.of("north") == []
    north = f"select sale_id from marts.all_sales where load_date = '{day}' and shop = 'north' order by 1"
    assert sales.rows(north) == [(1,), (3,)]
    assert read(sales, "raw.north_sales") == []
