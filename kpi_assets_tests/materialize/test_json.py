"""JSON: records of any shape arrive letter by letter, a bad one is set aside alone, and fields that change are told."""

import gzip
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.materialize import load
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model import written
from kpi_assets.sources.formats.json import reader
from kpi_assets.sources.formats.json.layout import NO_COLUMN
from kpi_assets.sources.formats.json.value import NO_OBJECT, NO_TEXT, NOT_UTF8, TOO_DEEP
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness, failed

KEY = f"raw/orders/{DAY}/orders.json"
RAW = """\
/* @asset
description: Orders as they were received.
owner: team:tests
grain: [record_no]
source:
  object: raw/orders/{load_date}/orders.json
  format: json
  position: record_no
  whole: raw_data
quarantine: {rows: 3}
columns:
  order_id: {type: integer, description: Order.}
  price: {type: "numeric(12,2)", description: Price.}
  status: {type: text, description: Status.}
@end */
"""
NARROW = RAW.replace("  whole: raw_data\n", "")


def order(number: int, **changes: Any) -> str:
    """Return an order as JSON; a price is a number with two decimals."""
    text = json.dumps({"order_id": number, "price": "#", "status": "paid"} | changes, ensure_ascii=False)
    return text.replace('"#"', f"{number}.50")


ORDERS = [order(number) for number in range(1, 11)]
ARRAY = f"[{', '.join(ORDERS)}]"
LINES = "".join(f"{each}\n" for each in ORDERS)
PRETTY = json.dumps([json.loads(each, parse_float=str) for each in ORDERS], indent=2)
DEEP = '{"a":' * 99 + "1" + "}" * 99


def with_third(record: str | bytes) -> bytes:
    """Return the orders line by line, with another record in the place of the third."""
    body = record if isinstance(record, bytes) else record.encode()
    lines = [each.encode() for each in ORDERS]
    return b"".join(each + b"\n" for each in [*lines[:2], body, *lines[3:]])


def run(lab: PipelineHarness, body: bytes | str, header: str = RAW) -> BuildOutcome:
    """Land the object, verify it, and build its table."""
    lab.file("raw/orders.sql", header)
    lab.put(KEY, body.encode() if isinstance(body, str) else body)
    verified = lab.verify("raw.orders")
    assert not verified.held, verified.results
    return lab.build("raw.orders")


# ---- published whole

WHOLE = {
    "an array": ARRAY,
    "a pretty array": PRETTY,
    "lines": LINES,
    "lines with CRLF": LINES.replace("\n", "\r\n"),
    "blank lines": "\n" + LINES.replace("\n", "\n\n \n"),
    "no last line end": LINES.removesuffix("\n"),
    "two arrays": f"[{', '.join(ORDERS[:4])}]\n[{', '.join(ORDERS[4:])}]\n",
    "a byte order mark": "\ufeff" + ARRAY,
    "other order of fields": LINES.replace('"order_id": 5, "price": 5.50', '"price": 5.50, "order_id": 5'),
}


@pytest.mark.parametrize("way", ["as it is", "record by record"])
@pytest.mark.parametrize("body", few(4, WHOLE.values()), ids=WHOLE)
def test_every_shape_is_published_whole(
    lab: PipelineHarness, body: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "record by record":
        monkeypatch.setattr(load, "_copy_loaders", lambda _objects: iter(()))
    outcome = run(lab, body)
    assert (outcome.held, outcome.rows, failed(outcome.results)) == (False, 10, {})
    rows = lab.rows("select record_no, order_id, price, status, raw_data::text from raw.orders order by 1")
    assert [row[:4] for row in rows] == [(n, n, Decimal(f"{n}.50"), "paid") for n in range(1, 11)]
    assert all(row[4] in body for row in rows)
    if "pretty" not in body and "other order" not in body and body is not PRETTY:
        assert rows[0][4] == ORDERS[0]
    assert lab.rows("select count(*) from ops.quarantine") == [(0,)]


def test_letters_stay_as_they_are(lab: PipelineHarness) -> None:
    """Numbers, escapes, blanks and order stay; other letters than ASCII and special letters of COPY arrive."""
    records = [
        '{"order_id":1,"price":1.50 ,\t"status":"caf\\u00e9 \\"é\\" \\\\ \\n\\t | ü🙂 \\\\N"}',
        '{"status" : null, "order_id": 2}',
    ]
    body = "[" + "\n,".join(records) + "]"
    outcome = run(lab, body)
    assert (outcome.held, outcome.rows) == (False, 2)
    first, second = lab.rows("select price, status, raw_data::text from raw.orders order by order_id")
    assert first[:2] == (Decimal("1.50"), 'café "é" \\ \n\t | ü🙂 \\N')
    assert (first[2], second) == (records[0], (None, None, records[1]))


def test_blanks_in_the_name_of_an_unknown_field_can_be_seen(lab: PipelineHarness) -> None:
    outcome = run(lab, LINES.replace('"paid"}', '"paid", "": 1, "note ": 2, "a b": 3}', 1))
    assert failed(outcome.results)["fields_known"].message == "'' in 1 record, 'note ' in 1 record, a b in 1 record"


def test_unknown_fields_are_kept_in_the_whole_record_and_told(lab: PipelineHarness) -> None:
    lines = LINES.replace('"status": "paid"}', f'"status": "paid", "coupon": {DEEP}}}', 3)
    outcome = run(lab, lines.replace('"paid"}', '"paid", "note": 1}', 1))
    assert (outcome.held, outcome.rows) == (False, 10)
    [(name, result)] = failed(outcome.results).items()
    assert (name, result.blocking, result.metric) == ("fields_known", False, 2)
    assert result.message == "coupon in 3 records, note in 1 record"
    assert result.samples == [{"field": "coupon", "records": 3}, {"field": "note", "records": 1}]
    assert lab.rows("select count(*) from raw.orders where raw_data::jsonb ? 'coupon'") == [(3,)]


# ---- one record set aside

NOT_JSON = "it is no JSON: a value is missing, at its character"
ASIDE: dict[str, tuple[str | bytes, str | None, str | None, str]] = {
    "no JSON": ('{"order_id": }', None, None, f"{NOT_JSON} 14"),
    "NaN": (order(3).replace("3.50", "NaN"), None, None, "it is no JSON: NaN is no number in JSON"),
    "a field twice": (
        '{"order_id": 3, "order_id": 3}',
        None,
        None,
        "it is no JSON: its field 'order_id' is there twice",
    ),
    "a number with a point": (
        order(3).replace("3,", "3.0,"),
        "order_id",
        "3.0",
        written.problem("integer", "3.0") or "",
    ),
    "a word for a number": (order(3, order_id="three"), "order_id", "three", written.problem("integer", "three") or ""),
    "too large a number": (
        order(3).replace("3.50", "1e99"),
        "price",
        "1e99",
        written.problem("numeric(12,2)", "1e99") or "",
    ),
    "more decimals": (
        order(3).replace("3.50", "3.505"),
        "price",
        "3.505",
        written.problem("numeric(12,2)", "3.505") or "",
    ),
    "out of range": (
        order(3).replace(": 3,", ": 3000000000,"),
        "order_id",
        "3000000000",
        'value "3000000000" is out of range for type integer',
    ),
    "too many digits": (
        order(3).replace("3.50", "12345678901.50"),
        "price",
        "12345678901.50",
        "numeric field overflow",
    ),
    "the empty text": (order(3, order_id=""), "order_id", "", written.EMPTY),
    "true for a number": (order(3, order_id=True), "order_id", "true", written.problem("integer", "true") or ""),
    "NUL": (order(3, status="a").replace('"a"', '"\\u0000"'), None, None, NO_TEXT),
    "half of a pair": (order(3, status="a").replace('"a"', '"\\ud83d"'), None, None, NO_TEXT),
    "the other half": (order(3, status="a").replace('"a"', '"\\ude00"'), None, None, NO_TEXT),
    "no UTF-8": (order(3, status="a").encode().replace(b'"a"', b'"\xff"'), None, None, NOT_UTF8),
    "a scalar": ("42", None, None, NO_OBJECT),
    "100,000 deep": ('{"status":' * 100_000, None, None, TOO_DEEP),
    "deeper than allowed": ('{"status":' * 501 + "1" + "}" * 501, None, None, TOO_DEEP),
    "a list in a text": (order(3, status=["paid"]), "status", '["paid"]', NO_COLUMN),
    "an object in a number": (order(3, price={"eur": 3}), "price", '{"eur": 3}', NO_COLUMN),
}


@pytest.mark.parametrize(("record", "column", "value", "reason"), few(8, ASIDE.values()), ids=ASIDE)
def test_a_record_that_cannot_be_read_is_set_aside_alone(
    lab: PipelineHarness, record: str | bytes, column: str | None, value: str | None, reason: str
) -> None:
    body = with_third(record)
    outcome = run(lab, body)
    assert (outcome.held, outcome.rows, failed(outcome.results)) == (False, 9, {})
    [found] = lab.rows("select line, column_name, value, reason, object_key, byte_offset from ops.quarantine")
    assert found == (3, column, value, reason, KEY, len(ORDERS[0]) + len(ORDERS[1]) + 2)
    [check] = [each for each in outcome.results if each.name == "quarantine"]
    shown = f", {column} {value!r}" if column else ""
    assert check.message == f"1 unreadable record, first is record 3{shown}: {reason}"
    assert lab.rows("select array_agg(record_no order by record_no) from raw.orders") == [
        ([1, 2, 4, 5, 6, 7, 8, 9, 10],)
    ]


def test_a_record_of_an_array_whose_end_is_certain_is_set_aside_alone(lab: PipelineHarness) -> None:
    body = ARRAY.replace("3.50", "NaN").replace(': 7, "price"', ': 7, "order_id": 7, "price"')
    outcome = run(lab, body)
    assert (outcome.held, outcome.rows, failed(outcome.results)) == (False, 8, {})
    assert lab.rows("select line, reason, byte_offset from ops.quarantine order by line") == [
        (3, "it is no JSON: NaN is no number in JSON", body.index('{"order_id": 3,')),
        (7, "it is no JSON: its field 'order_id' is there twice", body.index('{"order_id": 7,')),
    ]
    assert lab.rows("select max(record_no) from raw.orders") == [(10,)]


def test_more_than_the_budget_hold_the_load_date(lab: PipelineHarness) -> None:
    outcome = run(
        lab, LINES.replace("5.50", '"x"').replace("6.50", "NaN").replace("7.50", "7.505").replace("8.50", ".")
    )
    assert outcome.held
    [(name, result)] = failed(outcome.results).items()
    assert (name, result.metric, result.threshold) == ("quarantine", 4, 3)
    assert lab.rows("select line, column_name from ops.quarantine order by line") == [
        (5, "price"),
        (6, None),
        (7, "price"),
        (8, None),
    ]


# ---- held

HELD: dict[str, tuple[str, str, str]] = {
    "an array cut off": (
        ARRAY[: ARRAY.index("10.50")],
        "rows_accounted",
        f"its record 10, at byte {ARRAY.index(ORDERS[9])}, is no JSON (a value is missing, at its character 27), and "
        "what follows was not read: correct it where the file is made",
    ),
    "an array that is not closed": (
        ARRAY[:-1],
        "rows_accounted",
        "its array is not closed after record 10, so it was cut off: land it again from its source",
    ),
    "an array with a word": (
        ARRAY.replace(": 3,", ": three,"),
        "rows_accounted",
        f"its record 3, at byte {ARRAY.index(ORDERS[2])}, is no JSON (a value is missing, at its character 14), and "
        "what follows was not read: correct it where the file is made",
    ),
    "a field that is nowhere": (
        LINES.replace(', "status": "paid"', ""),
        "fields_there",
        "no record has the field 'status': correct the file, or write optional: true at a column that it may lack",
    ),
    "a field of another name": (
        LINES.replace('"status"', '"Status"'),
        "fields_there",
        "no record has the field 'status', but 'Status': write field: Status at the column 'status'",
    ),
    "an empty record": (
        "{}",
        "fields_there",
        "no record has the fields 'order_id', 'price', 'status': correct the file, or write optional: true at a column "
        "that it may lack",
    ),
    "an empty array": ("[]", "min_rows", "0 rows, at least 1 are wanted"),
}


@pytest.mark.parametrize(("body", "check", "message"), few(4, HELD.values()), ids=HELD)
def test_an_object_that_is_not_whole_is_held(lab: PipelineHarness, body: str, check: str, message: str) -> None:
    outcome = run(lab, body)
    assert outcome.held
    found = {name: each.message for name, each in failed(outcome.results).items() if each.blocking}
    assert found[check].removeprefix(f"s3://{lab.bucket}/{KEY}: ") == message
    assert lab.rows("select to_regclass('raw.orders')") == [(None,)]


STARTS: dict[str, tuple[bytes, str]] = {
    "a text": (b"order_id,price\n1,2\n", "it does not begin as JSON does, with { or [: land the JSON file itself"),
    "HTML": (
        b"<!doctype html><html>502</html>",
        "it is a web page, not JSON: it is mostly what a server says instead of the file: look into it, and fetch the "
        "file again",
    ),
    "UTF-16": (
        ARRAY.encode("utf-16"),
        "it is text in UTF-16, not JSON: export it as JSON in UTF-8, and land that",
    ),
    "gzip": (gzip.compress(ARRAY.encode()), "it is a gzip file, not JSON: write compression: gzip"),
    "blanks": (b" \n\n", "it has blanks only, and no record: land it again from its source"),
}


@pytest.mark.parametrize(("body", "problem"), STARTS.values(), ids=STARTS)
def test_what_does_not_begin_as_json_is_held_before_it_is_read(lab: PipelineHarness, body: bytes, problem: str) -> None:
    lab.file("raw/orders.sql", RAW)
    lab.put(KEY, body)
    assert failed(lab.verify("raw.orders").results)["header"].message == f"s3://{lab.bucket}/{KEY}: {problem}"


def test_an_empty_object_is_held(lab: PipelineHarness) -> None:
    lab.file("raw/orders.sql", RAW)
    lab.put(KEY, b"")
    assert list(failed(lab.verify("raw.orders").results)) == ["not_empty"]


@pytest.mark.parametrize("kept", few(1, [0.6, 0.2, 0.95, 1 - 1e-5]))
def test_a_gzip_that_was_cut_off_is_held(lab: PipelineHarness, kept: float) -> None:
    dice = random.Random(1)
    lines = "".join(f"{order(number, status=dice.randbytes(100).hex())}\n" for number in range(1, 3001))
    packed = gzip.compress(lines.encode())
    outcome = run(lab, packed[: int(len(packed) * kept)], RAW.replace("  whole", "  compression: gzip\n  whole"))
    assert outcome.held
    assert "it is cut off: it ends before its gzip does" in failed(outcome.results)["rows_accounted"].message


# ---- the words

FIELDS = """\
/* @asset
description: Orders with the words of files.
owner: team:tests
grain: [order_id]
source:
  object: raw/orders/{load_date}/orders.json
  format: json
  null: [NA]
  object_key: origin
SOURCE
quarantine: {rows: 3}
columns:
  order_id: {type: bigint, field: orderId, description: Order.}
  amount: {type: "numeric(8,2)", decimal: comma, thousands: point, description: Amount.}
  paid: {type: boolean, true: [Y], false: [N], description: Whether it is paid.}
  day: {type: date, format: D.M.YYYY, description: Day.}
  at: {type: timestamp with time zone, format: epoch, description: Instant.}
  note: {type: text, optional: true, description: Note.}
  color: {type: text, since: 2025-03-02, description: Color.}
  address: {type: jsonb, description: Address.}
@end */
"""
WORDED = [
    '{"orderId":1,"amount":1.500,"paid":true,"day":"1.2.2025","at":1740787200,"address":{"city":"Köln", "zip": 1.50}}',
    '{"orderId":"2","amount":"1.500,50","paid":"N","day":"28.12.2024","at":"NA","address":"NA","more":[1, true]}',
    '{"orderId":3,"amount":null,"paid":"NA","day":null,"address":[1.0,"NA"],"more":false}',
    '{"orderId":4,"amount":7,"paid":false,"address":"7"}',
]


@pytest.mark.parametrize("is_bad", few(1, [False, True]))
@pytest.mark.parametrize("extra", ["ignore", "keep"])
def test_the_words_of_files_apply_to_json(lab: PipelineHarness, extra: str, is_bad: bool) -> None:
    """A bad record makes the object be read record by record, with the same result for the others."""
    lines = [*WORDED, *(['{"orderId":5,"amount":"1.50"}'] * is_bad)]
    outcome = run(lab, "\n".join(lines), FIELDS.replace("SOURCE", f"  extra: {extra}"))
    assert (outcome.held, failed(outcome.results)) == (False, {})
    kept = "extra_fields::text" if extra == "keep" else "null"
    rows = lab.rows(
        "select order_id, amount, paid, day::text, extract(epoch from at)::bigint, note, color, address::text, origin, "
        f"{kept} from raw.orders order by 1"
    )
    more = ['{"more": "[1, true]"}', '{"more": "false"}'] if extra == "keep" else [None, None]
    assert rows == [
        (1, Decimal("1.50"), True, "2025-02-01", 1740787200, None, None, '{"zip": 1.50, "city": "Köln"}', KEY, None),
        (2, Decimal("1500.50"), False, "2024-12-28", None, None, None, None, KEY, more[0]),
        (3, None, None, None, None, None, None, '[1.0, "NA"]', KEY, more[1]),
        (4, Decimal("7.00"), False, None, None, None, None, '"7"', KEY, None),
    ]
    assert lab.rows("select line, column_name, value from ops.quarantine") == ([(5, "amount", "1.50")] * is_bad)


def test_a_field_that_is_due_later_is_told(lab: PipelineHarness) -> None:
    header = FIELDS.replace("SOURCE", "")
    body = "\n".join([WORDED[0], WORDED[3].replace("{", '{"color": "red", ')])
    outcome = run(lab, body, header)
    assert outcome.held
    assert failed(outcome.results)["fields_known"].message == (
        "color in 1 record: 'color' should come from 2025-03-02 on: correct since"
    )
    lab.put(KEY.replace(str(DAY), str(NEXT)), body.encode())
    assert not lab.build("raw.orders", NEXT).held
    assert lab.rows("select order_id, color from raw.orders order by 1") == [(1, None), (4, "red")]


@pytest.mark.parametrize(
    ("header", "held"),
    [
        (NARROW, True),
        (NARROW.replace("quarantine:", "  extra: hold\nquarantine:"), True),
        (RAW.replace("quarantine:", "  extra: hold\nquarantine:"), True),
        (RAW, False),
        (RAW.replace("quarantine:", "  extra: ignore\nquarantine:"), False),
        (RAW.replace("quarantine:", "  extra: keep\nquarantine:"), False),
    ],
    ids=["no word", "hold", "hold and whole", "whole", "ignore and whole", "keep and whole"],
)
def test_unknown_fields_hold_unless_the_header_says_otherwise(lab: PipelineHarness, header: str, held: bool) -> None:
    outcome = run(lab, LINES.replace('"paid"}', '"paid", "coupon": "X"}', 2), header)
    assert outcome.held == held
    if held:
        assert failed(outcome.results)["fields_known"].message == (
            "coupon in 2 records: declare a column, or write extra: ignore, or extra: keep"
        )
    assert ("fields_known" in failed(outcome.results)) == (held or "extra" not in header)


def test_the_records_of_an_api_are_in_a_field_of_its_pages(lab: PipelineHarness) -> None:
    header = RAW.replace("  position", "  records: data\n  position")
    pages = f'{{"page": 1, "data": [{", ".join(ORDERS[:6])}]}}\n{{"data": [{", ".join(ORDERS[6:])}], "page": 2}}\n'
    outcome = run(lab, pages, header)
    assert (outcome.held, outcome.rows, failed(outcome.results)) == (False, 10, {})
    assert lab.rows("select raw_data::text from raw.orders order by record_no") == [(each,) for each in ORDERS]
    outcome = run(lab, pages.replace("data", "rows"), header)
    assert failed(outcome.results)["rows_accounted"].message.endswith(
        ": its document at byte 0 has no list 'data': name the field of the list in records"
    )


def test_several_objects_are_one_table(lab: PipelineHarness) -> None:
    """The number of a record is that in its object; a field may be in the records of one object alone."""
    header = RAW.replace("orders.json", "*.json").replace(
        "position: record_no", "position: record_no\n  object_key: origin"
    )
    lab.file("raw/orders.sql", header.replace("grain: [record_no]", "grain: [origin, record_no]"))
    lab.put(KEY.replace("orders.json", "a.json"), LINES.encode())
    lab.put(KEY.replace("orders.json", "b.json"), b'[{"order_id": 11, "price": 0.10}, {"order_id": "x"}]')
    assert not lab.verify("raw.orders").held
    outcome = lab.build("raw.orders")
    assert (outcome.held, outcome.rows, failed(outcome.results)) == (False, 11, {})
    key = KEY.replace("orders.json", "b.json")
    [check] = [each for each in outcome.results if each.name == "quarantine"]
    assert check.message.startswith(f"1 unreadable record, first is {key}, record 2, order_id 'x': ")
    assert lab.rows("select object_key, line from ops.quarantine") == [(key, 2)]
    assert lab.rows("select max(record_no), count(*) from raw.orders group by origin order by 2 desc") == [
        (10, 10),
        (1, 1),
    ]


def test_a_reference_object_may_be_json(lab: PipelineHarness) -> None:
    header = RAW.replace("raw/orders/{load_date}/orders.json", "raw/orders.json")
    lab.file("raw/orders.sql", header)
    lab.put("raw/orders.json", ARRAY.encode())
    assert not lab.verify("raw.orders").held
    assert lab.build("raw.orders").rows == 10


def test_records_of_different_shapes_keep_their_order(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH", 7)
    lines = []
    for number in range(1, 201):
        fields = {"order_id": number, "price": number / 4, "status": f"s{number % 3}"}
        names = list(fields)[number % 3 :] + list(fields)[: number % 2]
        lines.append(json.dumps({name: fields[name] for name in names}))
    outcome = run(lab, "[" + ",".join(lines) + "]", RAW)
    assert (outcome.held, outcome.rows) == (False, 200)
    found = lab.rows("select record_no, order_id, price, status, raw_data::text from raw.orders order by 1")
    for number, (position, order_id, price, status, whole) in enumerate(found, start=1):
        fields = json.loads(lines[number - 1])
        assert (position, whole) == (number, lines[number - 1])
        expected = fields.get("price")
        assert (order_id, price, status) == (
            fields.get("order_id"),
            None if expected is None else Decimal(str(expected)),
            fields.get("status"),
        )


def test_a_recheck_does_not_judge_the_fields(lab: PipelineHarness) -> None:
    outcome = run(lab, LINES)
    assert {"fields_there", "fields_known"} <= {each.name for each in outcome.results}
    context = lab.prepared(run_id="again")
    again = recheck(context, context.pipeline.table("raw.orders"), DAY)
    assert {each.name: each.passed for each in again if each.name != "as_published"} == {
        "grain": True,
        "min_rows": True,
    }
