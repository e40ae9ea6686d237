"""The settings of the environment: how each is read, the error of a bad value, and that no secret is shown."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.settings import CHECKOUT, Settings, default_sql_dir, settings

SECRET = "hunter2-never-shown"
EMPTY = "it is empty: name a folder, or leave the setting out"
URL = f"postgresql://kpi:{SECRET}@db.example.com:5432/postgres"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("KPI_"):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    return settings()


def test_without_any_setting_both_servers_are_embedded() -> None:
    found = settings()
    assert (found.embedded_postgres, found.embedded_s3, found.home) == (True, True, CHECKOUT / ".kpi")
    assert (found.min_rows, found.s3_buckets) == ({}, {})
    assert found.sql_dir == default_sql_dir()
    assert (found.sql_dir / "instacart" / "pipeline.yaml").is_file()


def test_each_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(
        monkeypatch,
        KPI_HOME="/srv/kpi",
        KPI_SQL_DIR="/srv/sql",
        KPI_POSTGRES_URL=URL,
        KPI_DAGSTER_POSTGRES_URL=URL,
        KPI_S3_BUCKET="lake",
        KPI_S3_BUCKETS__INSTACART="instacart-lake",
        KPI_S3_ENDPOINT_URL="http://minio:9000",
        KPI_MIN_ROWS='{"instacart.raw.orders": 3000000}',
    )
    assert (found.home, found.sql_dir) == (Path("/srv/kpi"), Path("/srv/sql"))
    assert found.postgres_url is not None
    assert found.postgres_url.get_secret_value() == URL
    assert found.dagster_postgres_url is not None
    assert (found.s3_bucket, found.s3_buckets) == ("lake", {"instacart": "instacart-lake"})
    assert (found.s3_endpoint_url, found.min_rows) == ("http://minio:9000", {"instacart.raw.orders": 3000000})


def test_settings_are_read_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv("KPI_S3_BUCKET", "other")
    assert settings() is before
    settings.cache_clear()
    assert settings().s3_bucket == "other"


@pytest.mark.parametrize(
    ("name", "value", "postgres", "s3"),
    [
        ("KPI_POSTGRES_URL", URL, False, True),
        ("KPI_S3_BUCKET", "lake", True, False),
        ("KPI_S3_BUCKETS__SHOP", "lake", True, False),
        ("KPI_S3_ENDPOINT_URL", "http://minio:9000", True, False),
        ("KPI_DAGSTER_POSTGRES_URL", URL, True, True),
    ],
)
def test_a_server_that_is_named_is_not_embedded(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, postgres: bool, s3: bool
) -> None:
    found = read(monkeypatch, **{name: value})
    assert (found.embedded_postgres, found.embedded_s3) == (postgres, s3)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KPI_MIN_ROWS", "many", "it must be JSON"),
        ("KPI_MIN_ROWS", "[1]", r'write a JSON object: \{"name": value\}'),
        ("KPI_MIN_ROWS", '{"shop.raw.x": "many"}', "shop.raw.x: write a whole number, in digits only"),
        ("KPI_MIN_ROWS", '{"shop.raw.x": 1.5}', "shop.raw.x: write a whole number, in digits only"),
        ("KPI_WRITERS", "two", "write a whole number, in digits only"),
        ("KPI_WRITERS", "0", "write 1 or more"),
        ("KPI_WRITERS", "33", "write 32 or less"),
        ("KPI_S3_BUCKETS", "lake", "it must be JSON"),
        ("KPI_S3_BUCKETS", '{"shop": 1}', "shop: write a text, in double quotes"),
        ("KPI_UI_URL", "dagster.example.com", "write http://host:port or https://host, .*"),
        *((name, empty, EMPTY) for name in ("KPI_HOME", "KPI_SQL_DIR", "KPI_SECRETS_DIR") for empty in ("", " ")),
        ("KPI_ALERT_LOG", "perhaps", "write true or false"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^The setting {name} cannot be read \({reason}\): correct it in the environment\.$"
    ):
        read(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    "hosts",
    [
        "http://dagster.example.com",
        "dagster.example.com/",
        "*",
        "*.example.com",
        "a,,b",
        "a b",
        "a@b",
        "a:port",
        "a:",
        "[x]",
    ],
)
def test_a_bad_host_of_the_ui_names_its_variable(monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    with pytest.raises(
        UsageError, match=r"^The setting KPI_UI_HOSTS cannot be read \(write names as in .*, without http://\): correct"
    ):
        read(monkeypatch, KPI_UI_HOSTS=hosts)


def test_the_hosts_of_the_ui_are_a_list_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().ui_host_names == []
    found = read(monkeypatch, KPI_UI_HOSTS=" Dagster.example.com, nas_1:3000,[::1]:443 ")
    assert found.ui_host_names == ["dagster.example.com", "nas_1:3000", "[::1]:443"]
    assert read(monkeypatch, KPI_UI_HOSTS=" ").ui_host_names == []


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KPI_SERVE_PORT", "0", "write 1 or more"),
        ("KPI_SERVE_PORT", "99999", "write 65535 or less"),
        ("KPI_SERVE_HOST", "kpis.example.com", "write the address of one network interface, such as 127.0.0.1 or"),
        ("KPI_SERVE_HOST", "", "write the address of one network interface"),
        ("KPI_SERVE_KEYS", SECRET, "write name:hash for each key, as `kpi serve --new-key NAME` prints it"),
        ("KPI_SERVE_KEYS", f"ann:{HASH}, {SECRET}", "write name:hash for each key"),
        ("KPI_SERVE_KEYS", f"ann:{HASH}0", "write name:hash for each key"),
        ("KPI_SERVE_KEYS", f"ann:{HASH},ann:{HASH}", "it has two keys of one name: name each key differently"),
        ("KPI_SERVE_KEYS", "", "write name:hash for each key"),
        ("KPI_SERVE_PROXY_HEADER", "X-User: ann", "write the name of one header, such as X-Forwarded-Email"),
        ("KPI_SERVE_PROXY_ADDRESSES", "proxy.example.com", "write addresses or networks by commas, as in 10.0.0.5, 10"),
        ("KPI_SERVE_PROXY_ADDRESSES", "10.0.0.5/8", "write addresses or networks by commas"),
        ("KPI_SERVE_ORIGINS", "*", "write origins by commas, as in https://wiki.example.com, without a path"),
        ("KPI_SERVE_ORIGINS", "https://wiki.example.com/", "write origins by commas"),
        ("KPI_SERVE_EMBED", "'self'; script-src *", "write origins by commas"),
        ("KPI_SERVE_EMBED", "wiki.example.com", "write origins by commas"),
    ],
)
def test_a_bad_setting_of_kpi_serve_is_named_and_no_key_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=rf"^The setting {name} cannot be read \({re.escape(reason)}") as failure:
        read(monkeypatch, **{name: value})
    assert SECRET not in str(failure.value)
    assert HASH not in str(failure.value)


def test_the_settings_of_kpi_serve_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().serve_key_hashes == {}
    found = read(
        monkeypatch,
        KPI_SERVE_HOST="localhost",
        KPI_SERVE_KEYS=f" ann:{HASH},\nembed-wiki:{HASH} ",
        KPI_SERVE_PROXY_ADDRESSES=" 10.0.0.5, 10.1.0.0/16,fd00::/8 ",
        KPI_SERVE_ORIGINS="https://Wiki.example.com, http://[::1]:3000",
        KPI_SERVE_URL="https://kpis.example.com/",
    )
    assert (found.serve_host, found.serve_url) == ("127.0.0.1", "https://kpis.example.com")
    assert found.serve_key_hashes == {"ann": HASH, "embed-wiki": HASH}
    assert found.serve_proxy_addresses == "10.0.0.5/32,10.1.0.0/16,fd00::/8"
    assert found.serve_origins == "https://wiki.example.com,http://[::1]:3000"


@pytest.mark.parametrize(
    "token", ["short", f"{SECRET} with blanks in it", f"{SECRET};{SECRET}", f"{SECRET}\u00e9" * 3, "x" * 257]
)
def test_a_bad_token_of_the_ui_names_its_variable_and_not_the_token(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    with pytest.raises(
        UsageError, match=r"^The setting KPI_UI_TOKEN cannot be read \(write 16 to 256 letters"
    ) as failure:
        read(monkeypatch, KPI_UI_TOKEN=token)
    assert token not in str(failure.value)
    assert SECRET not in str(failure.value)


def test_an_empty_token_of_the_ui_differs_from_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().ui_token is None
    found = read(monkeypatch, KPI_UI_TOKEN="").ui_token
    assert found is not None
    assert found.get_secret_value() == ""
    assert "a" * 16 not in repr(read(monkeypatch, KPI_UI_TOKEN="a" * 16))


MAIL = {"KPI_ALERT_EMAIL_FROM": "kpi@example.com", "KPI_ALERT_EMAIL_TO": "ops@example.com"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KPI_ALERT_SLACK_URL", f"ftp://hooks/{SECRET}"),
        ("KPI_ALERT_SLACK_URL", SECRET),
        ("KPI_ALERT_WEBHOOK_URL", f"file:///{SECRET}"),
        ("KPI_ALERT_WEBHOOK_URL", f"https://someone:{SECRET}@example.com/"),
        ("KPI_ALERT_WEBHOOK_URL", f"https://example.com:{SECRET}/"),
        ("KPI_ALERT_WEBHOOK_URL", f"https:///{SECRET}"),
        ("KPI_ALERT_SMTP_URL", f"https://someone:{SECRET}@mail.example.com"),
        ("KPI_ALERT_SMTP_URL", f"smtp://someone:{SECRET}@"),
        ("KPI_ALERT_SMTP_URL", f"smtp://someone:{SECRET}@mail.example.com:port"),
        ("KPI_ALERT_SMTP_URL", f"smtp://[{SECRET}"),
    ],
)
def test_a_bad_channel_names_its_variable_and_no_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^The setting {name} cannot be read \(write (https|smtp)://.*\): "
    ) as failure:
        read(monkeypatch, **MAIL, **{name: value})
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("missing", list(MAIL))
def test_a_mail_server_requires_a_sender_and_recipients(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given = {name: value for name, value in MAIL.items() if name != missing}
    with pytest.raises(UsageError, match=r"^The setting KPI_ALERT_SMTP_URL .* KPI_ALERT_EMAIL_FROM and .*_TO too"):
        read(monkeypatch, **given, KPI_ALERT_SMTP_URL="smtp://mail.example.com")


def test_channels_are_read_and_the_ui_url_loses_its_trailing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings().ui_url, settings().alert_log) == ("http://127.0.0.1:3000", True)
    found = read(
        monkeypatch,
        **MAIL,
        KPI_ALERT_SMTP_URL="smtps://someone:p%40ss@mail.example.com:465",
        KPI_ALERT_WEBHOOK_URL="http://127.0.0.1:8000/hook",
        KPI_ALERT_LOG="false",
        KPI_UI_URL="https://dagster.example.com/ui/",
    )
    assert (found.ui_url, found.alert_log, found.alert_slack_url) == ("https://dagster.example.com/ui", False, None)
    assert found.alert_smtp_url is not None
    assert found.alert_smtp_url.get_secret_value() == "smtps://someone:p%40ss@mail.example.com:465"
    assert found.alert_email_to == "ops@example.com"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets such as Docker creates."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("KPI_SECRETS_DIR", str(folder))
    return folder


def test_a_setting_may_come_from_a_file_without_its_last_newline(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "kpi_postgres_url").write_text(f"{URL}\n")
    (secrets / "unrelated").write_text("of another program")
    found = read(monkeypatch, KPI_S3_BUCKET="lake")
    assert found.postgres_url is not None
    assert found.postgres_url.get_secret_value() == URL
    assert (found.embedded_postgres, found.embedded_s3, found.s3_bucket) == (False, False, "lake")


def test_the_environment_overrides_the_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "kpi_s3_bucket").write_text("of-the-file")
    assert read(monkeypatch).s3_bucket == "of-the-file"
    assert read(monkeypatch, KPI_S3_BUCKET="of-the-environment").s3_bucket == "of-the-environment"


def test_a_bad_value_in_a_file_names_its_setting_and_not_the_value(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "kpi_postgres_url").write_text(f"user:{SECRET}")
    with pytest.raises(
        UsageError,
        match=r"^The setting KPI_POSTGRES_URL cannot be read \(write postgresql://user:password@host:port/database, "
        r"[^()]*\): correct it in the environment or its file in KPI_SECRETS_DIR\.$",
    ):
        read(monkeypatch)


def test_a_missing_folder_of_secrets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(
        UsageError, match=rf"^The setting KPI_SECRETS_DIR cannot be read \(there is no folder {missing}\): correct it "
    ):
        read(monkeypatch, KPI_SECRETS_DIR=str(missing))


def test_a_file_that_may_not_be_read_is_named(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (secrets / "kpi_postgres_url").write_text(URL)
    monkeypatch.setattr(Path, "read_text", refuse)  # tests may run as root, which may read every file
    with pytest.raises(
        UsageError,
        match=rf"^The setting KPI_POSTGRES_URL cannot be read \(Permission denied: {secrets}/kpi_postgres_url\): ",
    ):
        read(monkeypatch)


def test_a_file_of_secrets_that_is_no_regular_file_is_refused(secrets: Path, tmp_path: Path) -> None:
    """If this were only a warning, the embedded servers would be used."""
    path = secrets / "KPI_Postgres_URL"
    (tmp_path / "elsewhere").write_text(URL)
    for make, reason in (
        (os.mkfifo, "is not a regular file: put one in its place"),
        (os.mkdir, "is not a regular file: put one in its place"),
        (lambda path: path.symlink_to(path), "is not a regular file: put one in its place"),
        (lambda path: path.symlink_to(tmp_path / "nowhere"), "is not a regular file: put one in its place"),
        (
            lambda path: path.symlink_to(tmp_path / "elsewhere"),
            "is a link out of that folder: put the file itself there",
        ),
    ):
        make(path)
        settings.cache_clear()
        with pytest.raises(UsageError) as said:
            settings()
        assert str(said.value) == (
            f"The setting KPI_POSTGRES_URL cannot be read ({path} {reason}): correct it in the environment or its file "
            "in KPI_SECRETS_DIR."
        )
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_link_within_the_folder_of_secrets_is_followed(secrets: Path) -> None:
    (secrets / "..data").mkdir()
    (secrets / "..data" / "kpi_postgres_url").write_text(URL)
    (secrets / "kpi_postgres_url").symlink_to("..data/kpi_postgres_url")
    settings.cache_clear()
    found = settings().postgres_url
    assert found is not None
    assert found.get_secret_value() == URL


def test_a_file_of_secrets_that_is_no_text_is_refused(secrets: Path) -> None:
    (secrets / "kpi_postgres_url").write_bytes(b"\xff\xfe\x00")
    settings.cache_clear()
    with pytest.raises(UsageError, match=r"^The setting KPI_POSTGRES_URL cannot be read \(it is not UTF-8 text\): "):
        settings()


@pytest.mark.parametrize("to", [",,", " ", " , "])
def test_mail_to_nobody_is_refused(monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    with pytest.raises(
        UsageError, match=r"^The setting KPI_ALERT_EMAIL_TO cannot be read \(it names no recipient: write one or more "
    ):
        read(monkeypatch, **{**MAIL, "KPI_ALERT_EMAIL_TO": to}, KPI_ALERT_SMTP_URL="smtp://mail.example.com")


def test_no_secret_is_shown_in_the_repr_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = {
        "KPI_ALERT_SLACK_URL": f"https://db.example.com/{SECRET}",
        "KPI_ALERT_WEBHOOK_URL": f"https://db.example.com/{SECRET}",
        "KPI_ALERT_SMTP_URL": f"smtp://someone:{SECRET}@db.example.com",
    }
    found = read(monkeypatch, KPI_POSTGRES_URL=URL, KPI_DAGSTER_POSTGRES_URL=URL, **MAIL, **channels)
    for shown in (repr(found), str(found), str(found.model_dump()), found.model_dump_json()):
        assert SECRET not in shown
        assert "db.example.com" not in shown
