"""A URL that can be read in more than one way is refused, and no part of it is shown, in any setting."""

import string
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from kpi_assets import urls
from kpi_assets.errors import UsageError, UserError
from kpi_assets.scrub import keep_secret, scrub
from kpi_assets.settings import Settings, settings
from kpi_assets_tests.examples import examples, few

MAIL = {"KPI_ALERT_EMAIL_FROM": "kpi@example.com", "KPI_ALERT_EMAIL_TO": "ops@example.com"}
PERCENT = "write postgresql://user:password@host:port/database, with what is not a letter or digit in the password"
# setting -> (scheme of its URLs, the beginning of what its error says to write)
URLS = {
    "KPI_POSTGRES_URL": ("postgresql", PERCENT),
    "KPI_ADMIN_POSTGRES_URL": ("postgresql", PERCENT),
    "KPI_DAGSTER_POSTGRES_URL": ("postgres", PERCENT),
    "KPI_SERVE_POSTGRES_URL": ("postgresql", PERCENT),
    "KPI_SERVE_URL": ("https", "write http://host:port or https://host, without a user, a password or a query"),
    "KPI_S3_ENDPOINT_URL": ("https", "write http://host:port or https://host, without a user, a password or a query"),
    "KPI_ALERT_SLACK_URL": ("https", "write https://host/path, without a user or password before the host"),
    "KPI_ALERT_WEBHOOK_URL": ("http", "write https://host/path, without a user or password before the host"),
    "KPI_ALERT_SMTP_URL": ("smtp", "write smtp://user:password@host:port or smtps://..., with what is not a letter"),
    "KPI_UI_URL": ("https", "write http://host:port or https://host, without a user, a password or a query"),
}
FORMS: dict[str, Callable[[str, str], str]] = {
    "user": lambda scheme, word: f"{scheme}://{word}:sesame@db.example.com:5432/postgres",
    "password": lambda scheme, word: f"{scheme}://kpi:{word}@db.example.com:5432/postgres",
    "host": lambda scheme, word: f"{scheme}://kpi:sesame@{word}:5432/postgres",
    "path": lambda scheme, word: f"{scheme}://kpi:sesame@db.example.com/{word}",
    "query": lambda scheme, word: f"{scheme}://kpi:sesame@db.example.com/postgres?password={word}",
    "all of it": lambda _scheme, word: word,
    "scheme": lambda _scheme, word: f"{word}://kpi:sesame@db.example.com/postgres",
}
MUST_BE_ENCODED = sorted(set(string.printable) - set(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:"))
CANARIES = [f"Qz7Jx{sign}Vk9Wp" for sign in [*MUST_BE_ENCODED, "\x00", "\x1b", "\x7f", "é", "\u202e", "\ud800"]]


@pytest.fixture(autouse=True)
def _settings_are_forgotten() -> Iterator[None]:
    yield
    settings.cache_clear()
    keep_secret(())


def cuts(canary: str) -> list[str]:
    """Return each piece of four characters of the text as it is, decoded, and as Python shows it."""
    forms = {canary, unquote(canary), repr(canary)[1:-1], ascii(canary)[1:-1]}
    return [form[at : at + 4] for form in forms for at in range(len(form) - 3)]


def refusal(name: str, value: str) -> str | None:
    """Return the error for a value, or None if it is accepted.

    The value is given to Settings directly, because no environment variable can contain NUL.
    """
    values = {"alert_email_from": "kpi@example.com", "alert_email_to": "ops@example.com", name[4:].lower(): value}

    class FromHere(Settings):
        def __init__(self, **_: object) -> None:
            super().__init__(**values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kpi_assets.settings.Settings", FromHere)
        settings.cache_clear()
        try:
            settings()
        except UsageError as error:
            assert error.__cause__ is None
            assert error.__context__ is None
            return str(error)
    return None


@pytest.mark.parametrize("form", ["user", "password"])
@pytest.mark.parametrize("name", few(4, URLS))
def test_no_part_of_an_unencoded_secret_is_shown(name: str, form: str) -> None:
    scheme, remedy = URLS[name]
    for canary in CANARIES:
        said = refusal(name, FORMS[form](scheme, canary))
        assert said is not None, canary
        assert said.startswith(f"The setting {name} cannot be read ({remedy}"), said
        assert [cut for cut in cuts(canary) if cut in said] == [], (canary, said)


@given(
    name=st.sampled_from(sorted(URLS)),
    form=st.sampled_from(sorted(FORMS)),
    head=st.text(min_size=0, max_size=6),
    tail=st.text(min_size=0, max_size=6),
)
@runs(max_examples=examples(300), deadline=None)
def test_the_error_of_a_refused_url_shows_no_part_of_it(name: str, form: str, head: str, tail: str) -> None:
    canary = f"Qz7J{head}xV8k{tail}9WpY"
    said = refusal(name, FORMS[form](URLS[name][0], canary))
    if said is not None:
        assert said.startswith(f"The setting {name} cannot be read ({URLS[name][1]}"), said
        plain = refusal(name, f"{URLS[name][0]}://?#@")
        assert plain is not None
        assert [cut for cut in cuts(canary) if cut in said and cut not in plain] == [], said


@given(
    scheme=st.sampled_from(["postgresql", "smtp"]),
    user=st.text("xyz:/@?#[]%&=+ ", min_size=1, max_size=5),
    password=st.text("12:/@?#[]%&=+ ", min_size=1, max_size=8),
    tail=st.sampled_from(["", "/postgres", "/postgres?sslmode=require"]),
)
@runs(max_examples=examples(1500), deadline=None)
def test_libraries_read_an_accepted_url_as_kpi_assets_does(scheme: str, user: str, password: str, tail: str) -> None:
    """A URL that is not encoded is refused, or nothing in it needs encoding."""
    for url in (
        f"{scheme}://{user}:{password}@db.example.com:5432{tail}",
        f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@db.example.com:5432{tail}",
    ):
        found = urls.parse(url, scheme)
        if found is None:
            assert url != f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@db.example.com:5432{tail}"
            continue
        parts = urlsplit(url)
        assert (parts.username, parts.password, parts.hostname) == (found.user, found.password, "db.example.com")
        if scheme == "postgresql":
            read = conninfo_to_dict(url)
            assert read["host"] == "db.example.com"
            assert unquote(found.password or "") == read.get("password", "")
            assert unquote(found.user or "") == read.get("user", "")


GOOD = {
    "KPI_POSTGRES_URL": [
        "postgresql://kpi:p%40s%2Fs@db.example.com:5432/postgres?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem",
        "postgres://kpi@[::1]:5432/postgres",
        "postgresql://kpi:a:b!$&'()*+,;=c@one:5432,two:5433/postgres?target_session_attrs=read-write",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/postgres",
        "postgresql:///postgres?host=/var/run/postgresql",
    ],
    "KPI_S3_ENDPOINT_URL": ["http://minio:9000", "https://s3.example.com/path/", "http://[::1]:9000", "http://a_b:1"],
    "KPI_UI_URL": ["https://dagster.example.com/ui/", "http://127.0.0.1:3000"],
    "KPI_ALERT_WEBHOOK_URL": [
        "https://example.webhook.office.com/webhookb2/guid%40guid/IncomingWebhook/1",
        "https://example.com/hook?sig=a%2Fb",
    ],
    "KPI_ALERT_SMTP_URL": ["smtp://mail.example.com", "smtps://me%40example.com:p%2Fw@mail.example.com:465/"],
    "KPI_S3_BUCKET": ["kpi-instacart", "arn:aws:s3:eu-west-1:123456789012:accesspoint/kpi"],
}


@pytest.mark.parametrize(("name", "url"), [(name, url) for name, each in GOOD.items() for url in each])
def test_a_valid_url_is_accepted(name: str, url: str) -> None:
    assert refusal(name, url) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KPI_S3_ENDPOINT_URL", "https://key:hunter2-secret@s3.example.com"),
        ("KPI_S3_ENDPOINT_URL", "https://hunter2-secret@s3.example.com"),
        ("KPI_S3_ENDPOINT_URL", "https://s3.example.com/?X-Amz-Signature=hunter2-secret"),
        ("KPI_S3_ENDPOINT_URL", "https://s3.example.com/#hunter2-secret"),
        ("KPI_S3_ENDPOINT_URL", ""),
        ("KPI_UI_URL", "https://someone:hunter2-secret@dagster.example.com"),
        ("KPI_UI_URL", "https://dagster.example.com/?token=hunter2-secret"),
        ("KPI_S3_BUCKET", "s3://key:hunter2-secret@bucket"),
        ("KPI_S3_BUCKET", "https://key:hunter2-secret@s3.example.com/bucket"),
        ("KPI_ALERT_SMTP_URL", "smtp://someone:12/hunter2-secret@mail.example.com"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:12/hunter2-secret@db.example.com/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:12?hunter2-secret@db.example.com/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:%zzhunter2-secret@db.example.com/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:x@db.example.com:99999/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:%00hunter2-secret@db.example.com/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://kpi:%ffhunter2-secret@db.example.com/postgres"),
        ("KPI_POSTGRES_URL", "postgresql://db.example.com/postgres?hunter2-secret=1"),
        ("KPI_POSTGRES_URL", "host=db.example.com password=hunter2-secret"),
    ],
)
def test_a_secret_where_none_belongs_is_refused(name: str, value: str) -> None:
    said = refusal(name, value)
    assert said is not None
    assert said.startswith(f"The setting {name} cannot be read (write ")
    assert said.endswith("): correct it in the environment.")
    assert "hunter2" not in said


def test_a_secret_in_the_bucket_of_one_pipeline_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPI_S3_BUCKETS__SHOP", "s3://key:hunter2-secret@bucket")
    settings.cache_clear()
    with pytest.raises(
        UsageError, match=r"^The setting KPI_S3_BUCKETS cannot be read \(write the name alone: "
    ) as said:
        settings()
    assert "hunter2" not in str(said.value)


def test_secrets_that_a_library_quotes_are_masked_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        **MAIL,
        "KPI_POSTGRES_URL": "postgresql://kpi:war%2Fehouse-pw@db.example.com/postgres?sslpassword=key%20phrase",
        "KPI_ALERT_SMTP_URL": "smtp://someone:mail-password@mail.example.com",
        "KPI_ALERT_SLACK_URL": "https://hooks.slack.com/services/T00000001/B00000002/abcd3efgh4",
        "AWS_SECRET_ACCESS_KEY": "aws-secret-key",
        "AWS_SESSION_TOKEN": "aws-session-token",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    settings()
    secrets = [
        *("war%2Fehouse-pw", "war/ehouse-pw", "key phrase", "mail-password", "aws-secret-key", "aws-session-token"),
        *("/services/T00000001/B00000002/abcd3efgh4", "abcd3efgh4", "T00000001"),
    ]
    for secret in secrets:
        assert str(UserError(f"It said {secret!r} of db.example.com.")) == "It said '***' of db.example.com."
    assert scrub("the service of someone at db.example.com") == "the service of someone at db.example.com"


def test_a_password_that_equals_the_user_is_not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPI_POSTGRES_URL", "postgresql://postgres:postgres@127.0.0.1/postgres")
    settings.cache_clear()
    settings()
    assert scrub("user 'postgres' on database 'postgres'") == "user 'postgres' on database 'postgres'"


def test_the_error_of_a_file_that_is_no_text_shows_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPI_SECRETS_DIR", str(tmp_path))
    (tmp_path / "kpi_postgres_url").write_bytes(b"postgresql://kpi:hunter2-\xff\xfe@db.example.com/postgres")
    settings.cache_clear()
    with pytest.raises(UsageError, match=r"^The setting KPI_POSTGRES_URL cannot be read \(") as said:
        settings()
    assert "hunter2" not in str(said.value)


def test_a_secret_of_an_api_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment may have any byte; the first request would fail with an error of Python."""
    monkeypatch.setenv("KPI_API_SECRETS__RETAIL__RETAILER_1", "canary\udcff")
    with pytest.raises(UsageError) as caught:
        settings()
    assert "(the secret retailer_1 has a byte that is no UTF-8: write it as text)" in str(caught.value)
    assert "canary" not in str(caught.value)
