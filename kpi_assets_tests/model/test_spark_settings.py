"""The settings of Spark Connect: what is refused, what is secret, and what follows for a session."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from kpi_assets import spark_address
from kpi_assets.errors import UsageError
from kpi_assets.settings import Settings, settings

FAR, NEAR, TLS = "sc://spark.example.com", "sc://localhost:15002", "sc://spark.example.com:443/;use_ssl=true"
TOKEN = "dapi-0123456789"
IN_THE_CLEAR = "rows and statements would cross the network in the clear"


def made(tmp_path: Path, **given: object) -> Settings:
    return Settings(home=tmp_path, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"spark_url": "spark://host:7077"}, "write sc://host:port"),
        ({"spark_url": "sc://"}, "write sc://host:port"),
        ({"spark_url": "sc://localhost:0"}, "write sc://host:port"),
        ({"spark_url": "sc://localhost:99999"}, "write sc://host:port"),
        ({"spark_url": "sc://localhost/path"}, "write sc://host:port"),
        ({"spark_url": "sc://localhost/;use_ssl"}, "write sc://host:port"),
        ({"spark_url": f"sc://localhost/;a={TOKEN} b"}, "write sc://host:port"),
        ({"spark_url": f"sc://me:{TOKEN}@localhost"}, "the login is KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;token={TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;authorization=Bearer%20{TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;x-jwt={TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;sig={TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;x-api-key={TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{TLS};session_Token={TOKEN}"}, "take it out, and set KPI_SPARK_TOKEN"),
        ({"spark_url": f"{NEAR}/;use_ssl=yes"}, "write use_ssl=true, or leave it out"),
        ({"spark_url": FAR}, IN_THE_CLEAR),
        ({"spark_url": f"{FAR}/;use_ssl=false"}, IN_THE_CLEAR),
        ({"spark_url": "sc://127.0.0.1.example.com"}, IN_THE_CLEAR),
        ({"spark_url": "sc://10.0.0.5"}, IN_THE_CLEAR),
        (
            {"spark_url": FAR, "spark_plain_text": True, "spark_token": TOKEN},
            "it would be sent in the clear: write",
        ),
        ({"spark_url": "sc://127.0.0.1", "spark_token": TOKEN}, "sends a token to the name localhost only"),
        ({"spark_url": NEAR, "spark_token": f"{TOKEN} and more"}, "write the token alone"),
        ({"spark_url": NEAR, "spark_token": f"{TOKEN}é"}, "write the token alone"),
    ],
)
def test_what_cannot_work_or_would_be_read_along_is_refused(
    tmp_path: Path, given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError) as error:
        made(tmp_path, **given)
    [said] = [each["msg"] for each in error.value.errors()]
    assert sentence in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"spark_url": NEAR}, "localhost:15002"),
        ({"spark_url": NEAR, "spark_token": TOKEN}, "localhost:15002"),
        ({"spark_url": "sc://127.0.0.1"}, "127.0.0.1:15002"),
        ({"spark_url": "sc://[::1]:15003/"}, "[::1]:15003"),
        ({"spark_url": TLS, "spark_token": TOKEN}, "spark.example.com:443"),
        ({"spark_url": f"{TLS};x-databricks-cluster-id=0123-abc"}, "spark.example.com:443"),
        ({"spark_url": FAR, "spark_plain_text": True}, "spark.example.com:15002"),
    ],
)
def test_what_nobody_can_read_along_is_taken(tmp_path: Path, given: dict[str, object], place: str) -> None:
    found = made(tmp_path, **given).spark
    assert found is not None
    assert found.place == place


def test_the_parameters_of_an_address_are_read() -> None:
    found = spark_address.parse(f"{TLS};user_id=me%40example.com;x-databricks-cluster-id=0123-abc")
    assert found is not None
    assert found.parameters == {
        "use_ssl": "true",
        "user_id": "me@example.com",
        "x-databricks-cluster-id": "0123-abc",
    }
    assert (found.has_tls, found.is_loopback) == (True, False)


def test_without_the_setting_there_is_no_spark(tmp_path: Path) -> None:
    assert made(tmp_path).spark is None
    assert made(tmp_path, spark_token="").spark_token is None


def test_the_token_is_a_secret(tmp_path: Path) -> None:
    config = made(tmp_path, spark_url=TLS, spark_token=TOKEN)
    assert TOKEN in {*config.secrets()}
    assert TOKEN not in repr(config)


def test_the_sentence_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPI_SPARK_URL", FAR)
    settings.cache_clear()
    with pytest.raises(UsageError, match=rf"^The setting KPI_SPARK_URL cannot be read \({IN_THE_CLEAR}: write use_ssl"):
        settings()
    settings.cache_clear()
