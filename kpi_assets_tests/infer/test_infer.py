"""`kpi infer`: what it proposes loads the samples with no edit, where they decide everything."""

import gzip
import json
import random
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import pytest

from kpi_assets.cli.infer import infer
from kpi_assets.errors import UsageError
from kpi_assets.infer import names, numbers, sample
from kpi_assets.infer.dates import Found, formats_of
from kpi_assets.infer.numbers import Notation, notations_of
from kpi_assets.infer.proposal import propose
from kpi_assets.infer.write import text_of
from kpi_assets.model.header import Header, split
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.sources.compression import zstd_module
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

DAYS = [date(2025, 3, 1) + timedelta(days=day) for day in range(3)]


def inferred(folder: Path, *bodies: bytes, name: str = "orders.csv") -> str:
    """Write a file of each of the days, and return what is proposed for them."""
    paths = []
    for day, body in zip(DAYS, bodies, strict=False):
        paths.append(folder / str(day) / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(body)
    return text_of(propose(paths, "orders", paths))


def header_of(text: str) -> Header:
    return split(Path("orders.sql"), text)[0]


def types(header: Header) -> dict[str, str]:
    return {name: column.type for name, column in header.columns.items()}


SHOP = (
    "Order ID;Größe;Preis;Bestellt am;Bezahlt;PLZ;Gewicht\n"
    "1;klein;1.234,50;25.03.2025;Y;01234;1,5\n"
    "2;;2,50;01.04.2025;N;80331;NA\n"
)


def test_a_german_shop_is_read_as_it_is(tmp_path: Path) -> None:
    text = inferred(tmp_path, SHOP.encode("cp1252"))
    header, source = header_of(text), header_of(text).source
    assert source is not None
    assert (source.delimiter, source.encoding, source.null, source.object) == (
        *(";", "cp1252", ["", "NA"]),
        "raw/orders/{load_date}/orders.csv",
    )
    assert types(header) == {
        "order_id": "integer",
        "groesse": "text",
        "preis": "numeric(12,2)",
        "bestellt_am": "date",
        "bezahlt": "boolean",
        "plz": "text",
        "gewicht": "numeric(12,2)",
    }
    columns = header.columns
    assert (columns["preis"].decimal, columns["preis"].thousands) == ("comma", "point")
    assert (columns["bestellt_am"].format, columns["bestellt_am"].field) == ("DD.MM.YYYY", "Bestellt am")
    assert (columns["bezahlt"].true, columns["bezahlt"].false) == (["Y"], ["N"])
    assert header.grain == ["order_id"]
    assert "a guess, for it is not UTF-8; a line: Order ID;Größe" in text
    assert "50 % NULL" in text
    assert "a text, because numbers would lose their leading zeros" in text


def test_a_column_that_seems_personal_is_marked_and_none_of_its_values_is_written(tmp_path: Path) -> None:
    lines = [f"{n};Jos\u00e9;canary{n}@example.org;shop {n % 2};0{n}/02/1980" for n in range(1, 9)]
    body = "\n".join(["id;first_name;contact;shop;birth_date", *lines, ""])
    text = inferred(tmp_path, body.encode("cp1252"))
    assert "canary" not in text
    assert "Jos" not in text, "neither as a line to judge the encoding by, nor as the only value"
    assert "/1980" not in text, "nor as an example of a date with two readings"
    text = inferred(tmp_path, body.replace("0", "2").encode("cp1252"), name="others.csv")
    columns = header_of(text).columns
    assert {name: column.pii for name, column in columns.items() if column.pii} == {
        "first_name": "name",
        "contact": "email",
        "birth_date": "text",
    }


def test_what_two_readings_explain_does_not_load_before_one_is_chosen(tmp_path: Path) -> None:
    text = inferred(tmp_path, b"id;due;price\n1;01/02/2025;1.234\n2;03/04/2025;5.678\n")
    with pytest.raises(ModelError, match=r"columns\.(due|price)\.type"):
        header_of(text)
    assert '  # due: {type: date, format: DD/MM/YYYY, description: "Due, as delivered."}' in text
    assert '  # due: {type: date, format: MM/DD/YYYY, description: "Due, as delivered."}' in text
    assert "  # price: {type: bigint, " not in text
    assert '  # price: {type: "numeric(13,3)", description: "Price, as delivered."}' in text
    assert '  # price: {type: integer, decimal: comma, thousands: point, description: "Price, as delivered."}' in text
    chosen = "\n".join(line for line in text.split("\n") if "type: ," not in line)
    for line in ("due: {type: date, format: DD/MM", 'price: {type: "numeric'):
        chosen = chosen.replace(f"  # {line}", f"  {line}")
    assert types(header_of(chosen)) == {"id": "integer", "due": "date", "price": "numeric(13,3)"}


def test_a_value_decides_the_order_of_day_and_month(tmp_path: Path) -> None:
    assert formats_of(["1/2/2025", "1/25/2025"]) == [Found("date", "M/D/YYYY")]
    assert formats_of(["1/2/2025", "25/1/2025"]) == [Found("date", "D/M/YYYY")]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["2025-01-07"], Found("date")),
        (["2025-1-7"], Found("date", "YYYY-M-D")),
        (["20250107", "20251231"], Found("date", "YYYYMMDD")),
        (["07-JAN-2025"], Found("date", "DD-MON-YYYY")),
        (["2025-01-07 10:00:00", "2025-01-07T10:00:00.5"], Found("timestamp without time zone")),
        (["2025-01-07T10:00:00Z"], Found("timestamp with time zone")),
        (["2025-01-07 10:00"], Found("timestamp without time zone", "YYYY-MM-DD HH:MI")),
        (["1/25/2025 9:05 PM"], Found("timestamp without time zone", "M/D/YYYY HH12:MI AM")),
        (["10:00:00"], Found("time without time zone")),
        (["9:05"], Found("time without time zone", "H:MI")),
    ],
)
def test_the_format_of_dates_and_times(values: list[str], found: Found) -> None:
    assert formats_of(values) == [found]


@pytest.mark.parametrize(
    "values", [["2025-02-30"], ["25:00:00"], ["2025-01-07", "7/1/2025"], ["13/13/2025"], ["18501231"], ["abc"]]
)
def test_what_is_no_date_has_no_format(values: list[str]) -> None:
    assert formats_of(values) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["1,50"], [Notation("comma")]),
        (["1.50", "-3"], [Notation()]),
        (["1,234.50"], [Notation("point", "comma")]),
        (["1.234.567"], [Notation("comma", "point")]),
        (["1'234.50"], [Notation("point", "apostrophe")]),
        (["1 234,50"], [Notation("comma", "space")]),
        (["1,234"], [Notation("comma"), Notation("point", "comma")]),
        (["1.2.3"], []),
    ],
)
def test_the_marks_of_numbers(values: list[str], found: list[Notation]) -> None:
    assert notations_of(values) == found


def test_types_have_room_for_larger_values() -> None:
    assert numbers.type_of(["7"]) == "integer"
    assert numbers.type_of(["199999999"]) == "integer"
    assert numbers.type_of(["200000000"]) == "bigint"
    assert numbers.type_of(["9" * 30]) == "numeric"
    assert numbers.type_of(["1.5"]) == "numeric(12,2)"
    assert numbers.type_of(["0.1234567"]) == "numeric"


def test_names_are_lower_case_and_different() -> None:
    found = names.column_names(["Order ID", "InvoiceNo", "Größe", "", "order", "load_date", "a b", "a-b", "2nd", "…"])
    assert found == [
        *("order_id", "invoice_no", "groesse", "column_4", "order_", "load_date_", "a_b", "a_b_2", "c_2nd", "column_10")
    ]


def test_columns_that_came_later_and_that_come_sometimes(tmp_path: Path) -> None:
    text = inferred(tmp_path, b"id,a,b\n1,x,y\n", b"id,b\n1,y\n", b"b,id,a,c\ny,1,x,5\n")
    columns = header_of(text).columns
    assert {name: (column.optional, column.since) for name, column in columns.items()} == {
        "id": (False, None),
        "a": (True, None),
        "b": (False, None),
        "c": (False, DAYS[2]),
    }


def test_a_file_without_a_key_gets_the_number_of_the_record(tmp_path: Path) -> None:
    header = header_of(inferred(tmp_path, b"name,count\na,1\na,1\n"))
    assert header.source is not None
    assert (header.grain, header.source.position) == (["record_no"], "record_no")


def test_a_text_of_a_later_file_is_not_null_because_other_columns_write_it_for_null(tmp_path: Path) -> None:
    columns = header_of(inferred(tmp_path, b"id,country,amount\n1,DE,NA\n2,FR,1.5\n")).columns
    assert {name: column.null for name, column in columns.items()} == {"id": None, "country": [""], "amount": None}


def test_years_are_names_over_values_that_are_no_years(tmp_path: Path) -> None:
    text = inferred(tmp_path, b"country,2024,2025\nDE,17,18\nFR,3,\n")
    header = header_of(text)
    assert header.source is not None
    assert header.source.header
    assert [column.field or name for name, column in header.columns.items()] == ["country", "2024", "2025", "record_no"]
    assert "header: true is a guess" in text
    years = header_of(inferred(tmp_path, b"DE,2024,2025\nFR,2023,2025\n"))
    assert years.source is not None
    assert not years.source.header


def test_one_number_among_names_is_no_certain_record(tmp_path: Path) -> None:
    guessed, sure = "header: false  # a guess; take it out if the first line names the fields", "header: false\n"
    assert guessed in inferred(tmp_path, b"shop,2025,sold\nnorth,a,12\nsouth,b,13\n")
    assert sure in inferred(tmp_path, b"north,2025,11\nsouth,2024,12\n")


def test_a_sample_cannot_end_the_comment_of_the_header(tmp_path: Path) -> None:
    text = inferred(tmp_path, "id,*/ drop\n1,é*/\n2,ü*/\n".encode("latin-1"))
    assert text.count("*/") == 1
    assert header_of(text).columns["drop"].field == "*/ drop"


REFUSED: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "empty": ([("a.csv", b"")], "is empty: name a file that has records"),
    "blank": ([("a.csv", b"\n \n")], "is empty: name a file that has records"),
    "a PDF": ([("a.csv", b"%PDF-1.7 x")], "is a PDF, not CSV, JSON or Parquet"),
    "Excel": (
        [("a.csv", b"PK\x03\x04..xl/workbook.xml")],
        "is an Excel workbook, not CSV, JSON or Parquet: export the sheet",
    ),
    "a torn gzip": ([("a.csv", gzip.compress(b"a,b\n1,2\n" * 99)[:-9])], "cannot be unpacked"),
    "others": ([("a.csv", b"a,b\n1,2\n"), ("b.csv", b"c,d\n1,2\n")], "has other fields than"),
    "packed and not": (
        [("a.csv", b"a,b\n1,2\n"), ("b.csv", gzip.compress(b"a,b\n1,2\n"))],
        "not written in the same way",
    ),
}


@pytest.mark.parametrize(("files", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_sample_is_refused_in_one_sentence(
    tmp_path: Path, files: list[tuple[str, bytes]], told: str
) -> None:
    for name, body in files:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(UsageError, match=told) as caught:
        propose([tmp_path / name for name, _ in files], "a", [Path(name) for name, _ in files])
    assert str(caught.value).endswith(".")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder: name the files in it"):
        propose([tmp_path], "a", [tmp_path])
    with pytest.raises(UsageError, match=r"cannot be read \(No such file"):
        propose([tmp_path / "x"], "a", [tmp_path / "x"])


def test_of_a_large_file_some_megabytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "orders_20250301.csv"
    with path.open("w") as file:
        file.write("id,note\n")
        file.writelines(f"{number},{'x' * 90}\n" for number in range(100_000))
    proposal = propose([path], "orders", [path])
    assert path.stat().st_size > 9_000_000
    assert proposal.read == (2 << 20) + 4 * (256 << 10)
    assert proposal.objects.key == "raw/orders/orders_{load_date:%Y%m%d}.csv"
    assert numbers.type_of(column.text for column in proposal.columns[0].counts) == "integer"


# ---- the real loader reads what was proposed


def random_table(seed: int) -> tuple[bytes, int]:
    """Return a random table in a random dialect that is decided by its values, and the number of its records."""
    chance = random.Random(seed)
    delimiter, comma = chance.choice([(",", "."), (";", ","), (";", "."), ("\t", "."), ("|", ",")])
    quote_all, end = chance.random() < 0.3, chance.choice(["\n", "\r\n"])
    null = chance.choice(["", "NA", "\\N", "NULL"])
    form = chance.choice(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d-%b-%Y"])
    moment = chance.choice(["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M"])
    yes, no = chance.choice([("true", "false"), ("Y", "N"), ("ja", "nein")])
    encoding = chance.choice(["utf-8", "utf-8-sig", "cp1252", "utf-16"])
    count = chance.randrange(60, 90)
    days = [date(2025, 1, 1) + timedelta(days=number * 5) for number in range(count)]
    columns: dict[str, list[str]] = {
        "Order ID": [str(1000 + number) for number in range(count)],
        "Größe": [chance.choice(["klein", "groß", f"a{delimiter}b", 'so "groß"']) for _ in days],
        "Amount": [f"{chance.randrange(10**6) / 100:.2f}".replace(".", comma) for _ in days],
        "ordered": [day.strftime(form) for day in days],
        "at": [datetime(day.year, day.month, day.day, 13, 5, 7, tzinfo=timezone.utc).strftime(moment) for day in days],
        "paid": [(yes, no)[number % 2] for number in range(count)],
        "zip": [f"{number:05}" for number in range(count)],
        "mass": [null if number % 7 == 0 and not quote_all else str(number * 3) for number in range(count)],
    }
    names_ = list(columns)
    chance.shuffle(names_)

    def field(text: str) -> str:
        special = set(text) & {delimiter, '"', "\n"}
        return '"' + text.replace('"', '""') + '"' if quote_all or special else text

    lines = [names_, *([columns[name][number] for name in names_] for number in range(count))]
    body = "".join(delimiter.join(map(field, line)) + end for line in lines).encode(encoding)
    packed = chance.choice(["", "gzip", "zip"])
    if packed == "zip":
        into = BytesIO()
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("orders.csv", body)
        body = into.getvalue()
    return gzip.compress(body) if packed == "gzip" else body, count


@pytest.mark.parametrize("seed", few(3, range(12)))
def test_a_table_in_any_dialect_is_loaded_by_its_proposal(lab: PipelineHarness, tmp_path: Path, seed: int) -> None:
    body, count = random_table(seed)
    path = tmp_path / str(DAY) / "orders.csv"
    path.parent.mkdir()
    path.write_bytes(body)
    text = text_of(propose([path], "orders", [path]))
    lab.file("raw/orders.sql", text)
    lab.put(f"raw/orders/{DAY}/orders.csv", body)
    assert not lab.verify("raw.orders").held, text
    outcome = lab.build("raw.orders")
    assert not outcome.held, (text, [result.message for result in outcome.results if not result.passed])
    [(rows, amount, days, paid)] = lab.rows(
        "select count(*), sum(amount) > 0, count(distinct ordered), count(*) filter (where paid) from raw.orders"
    )
    assert (rows, amount, days, paid) == (count, True, count, (count + 1) // 2)


# ---- the command


def test_the_command_writes_a_new_file_and_says_what_it_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, out = tmp_path / "Orders 2025-03-01.csv", tmp_path / "sql" / "shop" / "raw" / "orders.sql"
    sample.write_bytes(b"id,due\n1,01/02/2025\n")
    infer([sample])
    printed, told = capsys.readouterr()
    assert "object: " in printed
    assert "Read 20 bytes with 1 record of 1 file." in told
    assert "choose how to read due: the file does not load before." in told
    infer([sample], out)
    assert out.read_text() == printed
    with pytest.raises(UsageError, match="exists: name a new file"):
        infer([sample], out)
    with pytest.raises(UsageError, match="is not the file of a table: name it as in sql"):
        infer([sample], tmp_path / "My Orders.sql")


def macos_zip(body: bytes) -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._a.csv", b"\0\1")
        archive.writestr("a.csv", body)
    return made.getvalue()


@pytest.mark.parametrize(
    ("kind", "pack"), [("gzip", gzip.compress), ("zip", macos_zip), ("zstd", zstd_module().compress)]
)
def test_what_the_loader_unpacks_is_a_sample(tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]) -> None:
    header = header_of(inferred(tmp_path, pack(b"id,name\n1,anvil\n2,saw\n")))
    assert header.source is not None
    assert (header.source.compression, list(header.columns)) == (kind, ["id", "name"])


# ---- JSON


def orders_as_json(count: int) -> list[str]:
    """Return records with a value of each kind, of which the second lacks a field."""
    found = []
    for number in range(1, count + 1):
        record = {
            "orderId": number,
            "price": "#",
            "weight": 0.5 * number,
            "paid": number % 2 == 0,
            "status": ["paid", "open", "NA"][number % 3],
            "zip": f"{number:05}",
            "at": f"2025-03-01T10:00:{number % 60:02}Z",
            "coupon": None if number % 4 else "X",
            "items": [{"sku": "a", "n": number}],
        }
        if number == 2:
            del record["coupon"]
        found.append(json.dumps(record).replace('"#"', f"{number}.50"))
    return found


JSON_TYPES = {
    "order_id": "integer",
    "price": "numeric(12,2)",
    "weight": "numeric(12,2)",
    "paid": "boolean",
    "status": "text",
    "zip": "text",
    "at": "timestamp with time zone",
    "coupon": "text",
    "items": "jsonb",
}
SHAPES: dict[str, tuple[Callable[[list[str]], str], str | None]] = {
    "an array": (lambda records: f"[{', '.join(records)}]", None),
    "lines": ("\n".join, None),
    "a document": (lambda records: f'{{"page": 1, "data": [{", ".join(records)}]}}', "data"),
    "pages": (lambda records: f'{{"data": [{", ".join(records)}]}}\n{{"data": [{records[0]}]}}', "data"),
}


@pytest.mark.parametrize(("shape", "records"), SHAPES.values(), ids=SHAPES)
def test_json_of_any_shape_is_read_as_it_is(
    tmp_path: Path, shape: Callable[[list[str]], str], records: str | None
) -> None:
    text = inferred(tmp_path, shape(orders_as_json(60)).encode(), name="orders.json")
    header = header_of(text)
    assert header.source is not None
    assert (header.source.format, header.source.records) == ("json", records)
    assert types(header) == JSON_TYPES | ({"record_no": "bigint"} if shape is SHAPES["pages"][0] else {})
    assert header.columns["order_id"].field == "orderId"
    assert "coupon: {type: text" in text
    assert "a list or an object in the file" in text
    assert "# whole: raw_data keeps each record letter by letter" in text


def test_a_table_of_json_is_loaded_by_its_proposal(lab: PipelineHarness, tmp_path: Path) -> None:
    body = gzip.compress("\n".join(orders_as_json(200)).encode())
    text = inferred(tmp_path, body, name="orders.json.gz")
    lab.file("raw/orders.sql", text.replace("# whole", "whole").replace(" keeps each record", "  # keeps each record"))
    lab.put(f"raw/orders/{DAY}/orders.json.gz", body)
    outcome = lab.build("raw.orders")
    assert (outcome.held, outcome.rows) == (False, 200)
    assert lab.rows("select sum(price), count(coupon), max(zip), count(distinct items->0->>'n') from raw.orders") == [
        (20200, 50, "00200", 200)
    ]


def test_what_of_json_cannot_be_read_is_told(tmp_path: Path) -> None:
    records = orders_as_json(60)
    records[6] = '{"orderId": }'
    text = inferred(tmp_path, "\n".join(records).encode(), name="orders.json")
    assert (
        "# 1 record of orders.json cannot be read, the first is record 7: it is no JSON: a value is missing, at its "
        "character 13." in text
    )
    with pytest.raises(UsageError, match="has no record that can be read: name a CSV, JSON or Parquet file"):
        inferred(tmp_path, b'["a", "b"]', name="orders.json")


def test_only_the_start_of_a_long_json_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "START", 5_000)
    for body in (f"[{','.join(orders_as_json(500))}]", "\n".join(orders_as_json(500))):
        text = inferred(tmp_path, body.encode(), name="orders.json")
        assert types(header_of(text)) == JSON_TYPES
        assert "cannot be read" not in text
