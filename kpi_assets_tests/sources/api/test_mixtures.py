"""Any mixture of faults ends with all records or an error, and what is landed reads as it was counted."""

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kpi_assets.sources.api.fetch import ApiError
from kpi_assets.sources.formats.json.reader import JsonReader
from kpi_assets_tests.sources.api.scripted import Answer, Asked, document, get, packed, scripted
from kpi_assets_tests.sources.api.test_ask import PASSING
from kpi_assets_tests.sources.api.test_login import API, SECRETS
from kpi_assets_tests.sources.api.test_rounds import BY_PAGE, FAULTS, ids, paged, rows

WHOLE = paged(250)
PERMANENT = [
    Answer(status=400),
    Answer(b"<html>"),
    document(error="late"),
    Answer(b'{"data": null, "meta": {"total": 0}}'),
]


def mixed(seed: int) -> Callable[[Asked], Answer]:
    """A server that has a fault now and then; its tokens are good for some requests."""
    chance = random.Random(seed)
    passing = [answer for name, (answer, _) in PASSING.items() if name != "hangs"]
    waits = [Answer(status=429), Answer(status=503, headers={"Retry-After": "3"})]
    often, is_permanent = chance.choice([0.05, 0.2, 0.5]), chance.random() < 0.5
    tokens: list[str] = []

    def script(asked: Asked) -> Answer:
        if chance.random() < often:
            return chance.choice([*passing, *waits])
        if asked.path == "/oauth/token":
            tokens.append(f"token-{asked.number}")
            return Answer(json.dumps({"access_token": tokens[-1]}).encode())
        if asked.headers["authorization"] != f"Bearer {tokens[-1]}" or chance.random() < often / 5:
            return Answer(status=401)
        answer = WHOLE(asked)
        if chance.random() < often / 10:
            answer = chance.choice(list(FAULTS))(asked, answer)
        elif is_permanent and chance.random() < 0.1:
            return chance.choice(PERMANENT)
        return packed(answer) if chance.random() < 0.3 else answer

    return script


def test_a_mixture_of_faults_gives_all_records_or_an_error() -> None:
    whole = b"".join(document(*rows(at, at + 50), meta={"total": 250}).body for at in range(0, 250, 50))
    ends = []
    for seed in range(40):
        with scripted(mixed(seed)) as server:
            try:
                got = get(server.url, BY_PAGE, API, SECRETS)
            except ApiError:
                ends.append("error")
                continue
        assert (seed, got.pages, got.records, got.total, got.body == whole) == (seed, 5, 250, 250, True)
        assert ids(got.read()) == list(range(250))
        ends.append("whole")
    assert min(ends.count("error"), ends.count("whole")) >= 10, "or this would prove less than it says"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PAGES = st.lists(st.lists(st.dictionaries(st.sampled_from(["a", "data", "b"]), VALUES), min_size=1), max_size=4)
FORMS: list[dict[str, Any]] = [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]


def test_pages_are_read_later_as_they_were_counted() -> None:
    with scripted(lambda _asked: Answer()) as server:

        @settings(max_examples=30, deadline=None)
        @given(
            pages=PAGES,
            form=st.sampled_from(FORMS),
            field=st.sampled_from([None, "data"]),
            around=st.sampled_from(["", "\n", " \r\n\t", "\ufeff"]),
            block=st.sampled_from([1, 7, 1 << 16]),
        )
        def check(
            pages: list[list[dict[str, Any]]], form: dict[str, Any], field: str | None, around: str, block: int
        ) -> None:
            assume(len({json.dumps(page) for page in pages}) == len(pages))  # a page that comes twice is an error

            def script(asked: Asked) -> Answer:
                found = [*pages, []][int(asked.query["page"]) - 1]
                whole = found if field is None else {"x": [{"data": [1]}], "data": found, "total": len(found)}
                text = around + json.dumps(whole, **form) + ("" if around == "\ufeff" else around)
                return Answer(text.encode())

            server.script = script
            got = get(server.url, {"pages": BY_PAGE["pages"]}, records=field)
            expected = [record for page in pages for record in page]
            assert (got.pages, got.records) == (len(pages) + 1, len(expected))
            read = list(JsonReader([got.body[at : at + block] for at in range(0, len(got.body), block)], field))
            assert [json.loads(each.text) for each in read] == expected

        check()
