"""The page of the checks: those that every table has, and the words that add more."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from kpi_assets.docs.markdown import listed, nested, page_of, table, word
from kpi_assets.docs.words import Words
from kpi_assets.materialize.object_checks import checks as object_checks
from kpi_assets.model.checks.custom import CustomCheck
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.checks.options import SEVERITIES, WordOptions
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.names import AS_PUBLISHED
from kpi_assets.model.quality import DIMENSIONS
from kpi_assets.model.tree import load_pipelines

_INTRO = """
A check judges a candidate before anyone can read it. A check that fails holds the load_date, unless its severity is
`warn` or `alert`. A check that cannot be executed holds the load_date too.

Every check finds bad rows, or a number that is outside of its limits. A comparison with NULL is not a bad row: ask for
`not_null` where a value must be there.
"""
_ALWAYS = f"""
These checks are made even if a header has no word `checks`. The checks of an object are made before its rows are
loaded. `kpi recheck` makes one more check, `{AS_PUBLISHED}`: it compares the rows with the checksum in the ledger.
"""
_WORDS = """
The words below stand under `checks` in the [header](header.md). Any other name there is a check of your own.
"""
_OPTIONS = """
Each word may say the severity of its checks and their dimension, which is the part of the quality score to which they
belong. A word whose value is a list has the list as `columns` then. `severity` beside the words is that of all words
that the file has, unless a word says its own; it cannot be `alert`. It is not that of checks of your own, which have
these words too, and not that of the checks which a table has without a word.

```yaml
checks:
  severity: warn
  not_null: {columns: [email, phone], severity: error}
  range: {discount: [0, 100], dimension: consistency}
```

So a column or a key with the name `severity`, `dimension` or `for` needs a check of your own. The rules of a quarantine
have none of these words: what they set aside counts in the check `quarantine`.

A check with `severity: alert` says something about the business, not about the data. It opens an
[incident](../guides/alerts.md#checks-that-alert) while the latest published rows fail it.

A check that belongs to no dimension does not count in the score. The
[guide to authoring](../guides/authoring.md#quality-score) says how the score is computed.
"""
_OWN = """
A check of your own has a name that is none of the words above. Its value holds either `bad_rows` or `reconcile`.
"""
# The smallest files that make a pipeline.
_PIPELINE = """
description: An example.
bucket: example
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
"""
_RAW = """/* @asset
description: An example.
owner: team:example
grain: [id]
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
columns:
  id: {type: integer, description: Thing.}
@end */
"""
_JSON = _RAW.replace("things.csv\n  format: csv", "things.json\n  format: json\n  whole: raw_data")
_STREAM = """/* @asset
description: An example.
owner: team:example
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: events, object: "raw/events/load_date={load_date}/", format: ndjson}
quarantine: {share: 0.01}
columns:
  id: {type: text, description: Event.}
@end */
"""
_KPI = """/* @asset
description: An example.
owner: team:example
grain: [id]
kpi:
  chart: {x: id, y: id}
columns:
  id: {type: integer, description: Thing.}
@end */
select id
from raw.things
where load_date = %(load_date)s
"""
_HISTORY = _KPI.replace("kpi:\n  chart: {x: id, y: id}", "storage: history\nhistory: {surrogate_key: key}")
_FILES = {
    "pipeline.yaml": _PIPELINE,
    "raw/things.sql": _RAW,
    "raw/json.sql": _JSON,
    "raw/events.sql": _STREAM,
    "marts/kpi_things.sql": _KPI,
    "marts/history.sql": _HISTORY,
    "marts/ruled_things.sql": _KPI.replace("kpi:\n  chart: {x: id, y: id}", "quarantine: {rules: {not_null: [id]}}"),
}


def page() -> str:
    """Return the page as Markdown."""
    words = Words(Checks)
    # `custom` is the name in the model for checks of your own; no file contains it.
    own = Words(CustomCheck, {"ReconcileSpec": "#reconcile"}).sections()
    return page_of(
        "Checks",
        _INTRO,
        "## Checks that every table has",
        _ALWAYS,
        table(("of", "check", "passes when", "severity"), _default_checks()),
        "## Words of `checks`",
        _WORDS,
        nested(words.sections(*WORDS)),
        "## Severity and dimension",
        _OPTIONS,
        table(("word", "value", "default", "meaning"), _options()),
        table(("checks", "dimension"), _dimensions()),
        "## Checks of your own",
        _OWN,
        nested(own),
    )


def _options() -> Iterator[tuple[str, str, str, str]]:
    """Yield the words that every word of `checks` has."""
    values = {
        "severity": listed([word(value) for value in SEVERITIES]),
        "dimension": listed([word(value) for value in DIMENSIONS]),
        "for": "minutes, hours or load_dates",
        "waivable": listed([word("true"), word("false")]),
    }
    defaults = {
        "severity": word("error"),
        "dimension": "see below",
        "for": word("1 load_date"),
        "waivable": word("true"),
    }
    for field in ((each.alias or name, each) for name, each in WordOptions.model_fields.items()):
        yield word(field[0]), values[field[0]], defaults[field[0]], str(field[1].description)


def _dimensions() -> Iterator[tuple[str, str]]:
    """Yield the checks of each dimension, unless a file says another, and then those of none."""
    found: dict[str, str | None] = {word(name): each.dimension for name, each in WORDS.items()}
    found |= {word("grain"): "uniqueness", word("quarantine"): "validity"}
    found |= {"checks of your own": "validity", "reconciliations of your own": "consistency"}
    for dimension in (*DIMENSIONS, None):
        names = [name for name, each in found.items() if each == dimension]
        yield ", ".join([*names, *([] if dimension else ["all others"])]), word(dimension) if dimension else "none"


def _default_checks() -> Iterator[tuple[str, str, str, str]]:
    """Yield the checks of an object and of each kind of table, without the word `checks`."""
    with TemporaryDirectory() as folder:
        pipeline = Path(folder) / "example"
        for name, text in _FILES.items():
            (pipeline / name).parent.mkdir(parents=True, exist_ok=True)
            (pipeline / name).write_text(text)
        tables = load_pipelines(Path(folder))["example"]
        names = ("raw.things", "raw.json", "raw.events", "marts.kpi_things", "marts.ruled_things", "marts.history")
        raw, of_json, of_stream, kpi, ruled, history = map(tables.table, names)
    found = {
        "the object of a raw table": tuple(object_checks(raw)),
        "a raw table": raw.checks,
        "a raw table of JSON": [check for check in of_json.checks if check.name.startswith("fields_")],
        "a raw table of a stream, with the quarantine of the example": of_stream.checks,
        "a KPI": kpi.checks,
        "a table with rules": ruled.checks,
        "a history": history.checks,
    }
    for what, checks in found.items():
        for check in checks:
            yield what, word(check.name), check.description, "error" if check.blocking else "warn"
