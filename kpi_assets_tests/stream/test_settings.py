"""The settings of a broker: what is refused, what is secret, and which options follow for the client."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from kpi_assets.settings import Settings
from kpi_assets.stream.kafka import client_options

HUB = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=reader;SharedAccessKey=c2VjcmV0c2VjcmV0="


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stream_url": "kafka://user:word@host:9092"}, "without a user or a password"),
        ({"stream_url": "kafka://host:9092/topic"}, "write kafka://host:9092"),
        ({"stream_url": "kafka://"}, "write kafka://host:9092"),
        ({"stream_url": "kinesis://somewhere"}, "kinesis://region"),
        ({"stream_url": "amqp://host"}, "write kafka://host:9092"),
        ({"stream_user": "reader"}, "set both KPI_STREAM_USER and KPI_STREAM_PASSWORD, or neither"),
        (
            {"stream_user": "reader", "stream_password": ""},
            "set both KPI_STREAM_USER and KPI_STREAM_PASSWORD, or neither",
        ),
        ({"stream_password": "a secret"}, "set both KPI_STREAM_USER and KPI_STREAM_PASSWORD, or neither"),
        (
            {"stream_url": "kafka://host:9092", "stream_user": "reader", "stream_password": "a secret"},
            "PLAIN would send it in the clear: write kafka[+]ssl://",
        ),
        ({"stream_sasl": "GSSAPI"}, "PLAIN"),
        ({"stream_ca": "/nowhere.pem"}, "there is no file /nowhere.pem"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as error:
        Settings(home=tmp_path, **given)  # type: ignore[arg-type]
    assert "a secret" not in str(error.value.errors()[0]["msg"])


def test_an_empty_password_is_none_as_of_a_secret_that_nobody_needs(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, stream_url="kafka://host:9092", stream_password="")  # type: ignore[arg-type]
    assert config.stream_password is None
    assert client_options(config)["security.protocol"] == "PLAINTEXT"


def test_the_options_of_event_hubs(tmp_path: Path) -> None:
    hub = "kafka+ssl://ns.servicebus.windows.net:9093"
    config = Settings(home=tmp_path, stream_url=hub, stream_user="$ConnectionString", stream_password=HUB)  # type: ignore[arg-type]
    options = client_options(config)
    assert {name: options[name] for name in options if name not in {"logger", "client.id"}} == {
        "bootstrap.servers": "ns.servicebus.windows.net:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": HUB,
    }
    assert {HUB, "c2VjcmV0c2VjcmV0="} <= {*config.secrets()}
    assert HUB not in repr(config)


def test_a_broker_of_this_machine_needs_no_tls_for_a_login(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, stream_url="kafka://127.0.0.1:9092", stream_user="a", stream_password="word")  # type: ignore[arg-type]
    assert client_options(config)["security.protocol"] == "SASL_PLAINTEXT"
    several = Settings(home=tmp_path, stream_url="kafka://a:9092,b:9092")
    assert client_options(several)["bootstrap.servers"] == "a:9092,b:9092"
    assert client_options(several)["security.protocol"] == "PLAINTEXT"
    scram = {"stream_user": "a", "stream_password": "word", "stream_sasl": "SCRAM-SHA-512"}
    open_network = Settings(home=tmp_path, stream_url="kafka://a:9092", **scram)  # type: ignore[arg-type]
    assert client_options(open_network)["sasl.mechanism"] == "SCRAM-SHA-512"
