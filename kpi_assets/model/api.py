"""The words of HTTP APIs: `apis` of pipeline.yaml describes the servers, `call` of a source what is asked of one.

Texts of these words may have holes: `{secret:NAME}` and `{token}` in those of a server, `{load_date}`,
`{load_date:FORM}` and `{next_date}` in those of a call. So a call holds no secret, and may be shown.

Belongs here: the words, filling in their holes, and which page follows which. Not here: asking (sources/api/), and
where addresses and secrets come from (settings.py).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.field_types import Value
from kpi_assets.model.key_date import DIRECTIVES, ISO, written
from kpi_assets.model.sentences import Loc, refuse, shown
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.urls import parse

NextPage = Mapping[str, str | int]  # the parameters that ask for a page

_HOLE = re.compile(r"\{([A-Za-z_]+)(?::([^{}]*))?\}")
_SECRET_NAME = re.compile("[a-z][a-z0-9_]*")
_DIRECTIVE = re.compile("%(-?[a-zA-Z%])")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding")  # they say how a request is sent


def _is_url(value: str) -> str:
    found = parse(value, "http", "https")
    if found is None or not found.hosts or (found.user, found.query) != (None, None) or set(value) & set(",@#{}"):
        raise ValueError(
            f"{shown(value)} is not the address of a server: write http://host:port or https://host/path, without a "
            "user, a password and a query"
        )
    return value.rstrip("/")


def _is_path(value: str) -> str:
    if not value.startswith("/") or set(value) & set("?#"):
        raise ValueError(f"{shown(value)} is not a path: write it with / at its beginning, and without ? and #")
    return value


def _names_a_place(value: str) -> str:
    if not all(value.split(".")):
        raise ValueError(f"{shown(value)} is not the place of a value: write names with a dot between, as in meta.next")
    return value


def _are_headers(headers: dict[str, str]) -> dict[str, str]:
    refuse(_header_problems(headers))
    return headers


def _header_problems(headers: dict[str, str]) -> Iterator[tuple[Loc, str]]:
    known = set[str]()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield (name,), "is not the name of a header: write letters, digits and -"
        elif name.lower() in _OWN_HEADERS:
            yield (name,), "this header is written for each request: take it out"
        elif name.lower() in known:
            yield (name,), "this header is there twice, since capitals make no difference: take one out"
        elif not _HEADER_VALUE.fullmatch(value):
            yield (name,), "no header can have a line end, or another character beyond Latin-1: take it out"
        known.add(name.lower())


Url = Annotated[str, AfterValidator(_is_url)]
Path = Annotated[str, AfterValidator(_is_path)]
Place = Annotated[str, AfterValidator(_names_a_place)]  # of a value in an answer: names, joined by dots
Texts = dict[str, str]
Headers = Annotated[Texts, AfterValidator(_are_headers)]
Values = dict[str, Value]

_SERVER_TEXT = "`{secret:NAME}` stands for a secret of the environment, `{token}` for the token of `login`."
_CALL_TEXT = (
    "`{load_date}` stands for the load_date as YYYY-MM-DD, `{load_date:FORM}` in another form such as `%Y%m%d`, and "
    "`{next_date}` for the day after it."
)


class Login(Strict):
    """A call that gives a token, as OAuth's client credentials do. It is made again when the token has expired."""

    url: Url | None = Field(default=None, description="Its address, where another server than `url` gives the tokens.")
    path: Path | None = Field(default=None, description="Its path on the API's own server.")
    headers: Headers = Field(default={}, description="Headers. `{secret:NAME}` stands for a secret.")
    form: Texts = Field(
        default={},
        description="The fields of the form that is sent. `{secret:NAME}` stands for a secret.",
        examples=['form: {grant_type: client_credentials, client_id: kpi, client_secret: "{secret:shop}"}'],
    )
    token: Place = Field(default="access_token", description="Where the answer has the token.")
    expires: Place = Field(
        default="expires_in", description="Where the answer says for how many seconds the token is good, if it does."
    )

    @model_validator(mode="after")
    def _has_one_address(self) -> "Login":
        if (self.url is None) == (self.path is None):
            raise ValueError("write either path, on the API's own server, or url")
        refuse(_hole_problems({"headers": self.headers, "form": self.form}, "secret"))
        return self

    @property
    def secrets(self) -> list[str]:
        """The names of the secrets that it needs."""
        return _secrets(self.headers, self.form)


class Api(Strict):
    """An HTTP API that raw tables are fetched from, and what every call of it says."""

    url: Url | None = Field(
        default=None,
        description="Its address. `KPI_API_URLS__PIPELINE__API` takes precedence; without both, the pipeline's "
        "simulated API is asked on the embedded servers, and elsewhere nothing.",
        examples=["url: https://api.example.com/v2"],
    )
    headers: Headers = Field(
        default={},
        description=f"Headers of every request. {_SERVER_TEXT}",
        examples=['headers: {Authorization: "Bearer {secret:shop}"}'],
    )
    query: Values = Field(default={}, description=f"Parameters of every request's address. {_SERVER_TEXT}")
    body: Values = Field(
        default={}, description=f"Fields of the JSON object that every request sends, for calls by POST. {_SERVER_TEXT}"
    )
    login: Login | None = Field(default=None, description="The call that gives the token for `{token}`.")
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="The most requests a second, of all runs together. Without this word there is no limit.",
    )
    timeout_seconds: int = Field(
        default=60, ge=1, le=600, description="How long a request may take until its next byte."
    )
    deadline_minutes: int = Field(
        default=15, ge=1, le=1440, description="How long all pages of a load_date may take together, with all waiting."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "Api":
        refuse([*_hole_problems({"headers": self.headers, "query": self.query, "body": self.body}, "secret", "token")])
        refuse(self._token_problems())
        return self

    def _token_problems(self) -> Iterator[tuple[Loc, str]]:
        uses = any(name == "token" for name, _ in _holes(self.headers, self.query, self.body))
        if uses and self.login is None:
            yield (), "{token} is the token of a login: write the word login, or {secret:NAME}"
        if self.login and not uses:
            yield (
                ("login",),
                'its token is not used: write {token} in a header, as in {Authorization: "Bearer {token}"}',
            )

    @property
    def secrets(self) -> list[str]:
        """The names of the secrets that it needs, sorted."""
        return sorted({*_secrets(self.headers, self.query, self.body), *(self.login.secrets if self.login else ())})


class Pages(Strict):
    """How the pages of an answer are asked for, one after another."""

    by: Annotated[Literal["page", "offset", "cursor"], Affects.NOTHING] = Field(
        description="`page`: by the number of the page. `offset`: by the number of records before it. `cursor`: by "
        "what the page before says."
    )
    parameter: Annotated[str, Affects.NOTHING] = Field(
        min_length=1,
        description="The parameter that asks for a page: in the address, or in the body of a call by POST.",
        examples=["parameter: page"],
    )
    size: Annotated[dict[str, Annotated[int, Field(ge=1)]], Affects.NOTHING] = Field(
        default={},
        description="The parameter that asks for so many records a page.",
        examples=["size: {limit: 500}"],
    )
    first: Annotated[int | None, Affects.NOTHING] = Field(
        default=None, ge=0, le=1, description="The number of the first page, or its offset: 1 for page, 0 for offset."
    )
    following: Annotated[Place | None, Affects.NOTHING] = Field(
        default=None,
        description="By cursor: where a page says what asks for the next one; null, empty or absent on the last page.",
        examples=["following: meta.next"],
    )
    twice: Annotated[bool, Affects.NOTHING] = Field(
        default=False,
        strict=True,
        description="Whether all pages are asked for a second time, and must have the same records. A total cannot "
        "show that one record went and another came while the pages were asked for; this does, for twice the requests.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Pages":
        if self.by == "cursor" and self.following is None:
            raise ValueError("by cursor needs the word following: write where a page says what asks for the next one")
        if self.by != "cursor" and self.following is not None:
            refuse([(("following",), f"is for pages by cursor, and these are by {self.by}: take it out")])
        if self.by == "cursor" and self.first is not None:
            refuse([(("first",), "a cursor begins without a number: take it out")])
        if len(self.size) > 1:
            refuse([(("size",), "only one parameter asks for so many records a page: take the others out")])
        if self.parameter in self.size:
            refuse([(("size",), f"{self.parameter!r} is the parameter that asks for a page: write another one")])
        return self

    @property
    def beginning(self) -> NextPage:
        """The parameters of the first page."""
        first = {"page": 1, "offset": 0}.get(self.by)
        number = first if self.first is None else self.first
        return {**self.size, **({} if number is None else {self.parameter: number})}

    def after(self, page: NextPage, document: Any, records_so_far: int) -> NextPage | None:
        """Return the parameters of the page after one; None if a cursor says that it was the last."""
        if self.by == "page":
            return {**page, self.parameter: int(page[self.parameter]) + 1}
        if self.by == "offset":
            return {**page, self.parameter: (self.first or 0) + records_so_far}
        assert self.following is not None
        found = value_at(document, self.following)
        return None if found in (None, "") else {**self.size, self.parameter: found}


class Call(Strict):
    """What is asked of an API for a load_date. Its answers are landed as they came, one page after another."""

    method: Annotated[Literal["GET", "POST"], Affects.NOTHING] = Field(
        default="GET", description="The method of the request."
    )
    path: Annotated[Path, Affects.NOTHING] = Field(
        description=f"The path behind the API's address. {_CALL_TEXT}", examples=["path: /sales/{load_date}"]
    )
    query: Annotated[Values, Affects.NOTHING] = Field(
        default={},
        description=f"Parameters of the address. {_CALL_TEXT}",
        examples=['query: {start_date: "{load_date}", end_date: "{load_date}"}'],
    )
    body: Annotated[Values, Affects.NOTHING] = Field(
        default={}, description=f"Fields of the JSON object that a POST sends. {_CALL_TEXT}"
    )
    pages: Annotated[Pages | None, Affects.NOTHING] = Field(
        default=None, description="How further pages are asked for. Without this word an answer is all there is."
    )
    total: Annotated[Place | None, Affects.NOTHING] = Field(
        default=None,
        description="Where each answer says how many records there are on all pages. The records that came must be so "
        "many. Without this word, only an empty page or a cursor's end shows that there are no more.",
        examples=["total: meta.total"],
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "Call":
        refuse(
            _hole_problems({"path": {"": self.path}, "query": self.query, "body": self.body}, "load_date", "next_date")
        )
        if self.body and self.method == "GET":
            refuse([(("body",), "only a POST sends a body: write method: POST, or use query")])
        word, values = ("body", self.body) if self.method == "POST" else ("query", self.query)
        of_pages = {self.pages.parameter, *self.pages.size} if self.pages else set()
        refuse(((word, name), "is a parameter of pages: take it out here") for name in values if name in of_pages)
        return self

    @property
    def has_date(self) -> bool:
        """Whether it asks for a load_date; otherwise an answer tells how things are today."""
        return any(True for _ in _holes({"": self.path}, self.query, self.body))


def filled(value: Value, *, load_date: date | None = None, secrets: Mapping[str, str] | None = None) -> Value:
    """Return a value of `apis` or `call` with its holes filled; `secrets` has the token as "token".

    Raises KeyError with the name of a secret that is not there.
    """

    def fill(hole: re.Match[str]) -> str:
        name, form = hole[1], hole[2]
        if name in ("load_date", "next_date") and load_date is not None:
            day = load_date + timedelta(days=name == "next_date")
            return _DIRECTIVE.sub(lambda part: "%" if part[1] == "%" else written(part[1], day), form or ISO)
        if name in ("secret", "token") and secrets is not None:
            return secrets[form if name == "secret" else name]
        return hole[0]

    return _HOLE.sub(fill, value) if isinstance(value, str) else value


def value_at(document: Any, place: str) -> Any:
    """Return the value at a place of an answer; None if there is none."""
    for name in place.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _holes(*texts: Mapping[str, Value]) -> Iterator[tuple[str, str | None]]:
    """Yield (name, what stands behind the colon) of each hole."""
    for values in texts:
        for value in values.values():
            for hole in _HOLE.finditer(value) if isinstance(value, str) else ():
                yield hole[1], hole[2]


def _secrets(*texts: Mapping[str, Value]) -> list[str]:
    return sorted({form for name, form in _holes(*texts) if name == "secret" and form})


def _hole_problems(texts: Mapping[str, Mapping[str, Value]], *known: str) -> Iterator[tuple[Loc, str]]:
    """Yield what is wrong with the holes of a word's texts."""
    for word, values in texts.items():
        for key, value in values.items():
            loc: Loc = (word, key) if key else (word,)
            for hole in _HOLE.finditer(value) if isinstance(value, str) else ():
                if problem := _hole_problem(hole[1], hole[2], known):
                    yield loc, f"{shown(hole[0])} {problem}"


def _hole_problem(name: str, form: str | None, known: tuple[str, ...]) -> str:
    if name not in known:
        return _unknown(name, known)
    if name == "secret" and not _SECRET_NAME.fullmatch(form or ""):
        return "names no secret: write {secret:name}, in lower case letters, digits and _"
    if name == "token" and form is not None:
        return "needs nothing behind the name: write {token}"
    if name in ("load_date", "next_date") and form is not None:
        names = _DIRECTIVE.findall(form)
        if not names or not all(each == "%" or each in DIRECTIVES for each in names):
            return f"has no form of a date: write it as in {{{name}:%Y%m%d}}"
    return ""


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if name == "token" and "secret" in known:
        return "is what the login gives, and cannot be in its own request: take it out"
    if name in ("secret", "token"):
        return "stands in the words of apis, so that a call holds no secret: write it there"
    return f"is not known here: write {' or '.join(_SHAPES[each] for each in known)}"


_SHAPES = {
    "secret": "{secret:name}",
    "token": "{token}",
    "load_date": "{load_date}",
    "next_date": "{next_date}",
}
