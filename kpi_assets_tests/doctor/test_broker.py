"""The doctor asks the broker for each stream."""

from pathlib import Path

import pytest

from kpi_assets.doctor import broker as examined
from kpi_assets.settings import Settings
from kpi_assets_tests.stream.brokers import mock_broker

pytestmark = pytest.mark.process


def test_a_stream_that_answers_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_broker(tmp_path) as broker:
        name, address = broker.make(), broker.settings.stream_url
        monkeypatch.setattr("kpi_assets.stream.kafka.KafkaReader.dated_by", lambda _: "broker")
        found = [*examined.examine(broker.settings, name)]
        assert [(each.state, each.subject, each.text) for each in found] == [
            ("ok", f"broker of {name}", f"{address} answers, and the stream has 4 partitions")
        ]
        monkeypatch.setattr("kpi_assets.stream.kafka.KafkaReader.dated_by", lambda _: "producer")
        _, second = examined.examine(broker.settings, name)
        assert second.state == "advice"
        assert second.text.endswith("set message.timestamp.type of the topic to LogAppendTime")


def test_a_broker_that_nobody_named_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpi_assets.doctor.broker.streams_of", lambda _: ["clicks", "orders"])
    found = [*examined.broker(Settings(home=tmp_path, stream_url=None), None)]  # type: ignore[arg-type]
    assert [(each.state, each.subject) for each in found] == [
        ("advice", "broker of clicks"),
        ("advice", "broker of orders"),
    ]
    assert found[0].text == (
        "no broker is named, so nothing more of the stream is landed: set KPI_STREAM_URL to kafka://host:9092 or "
        "kinesis://region"
    )


def test_a_broker_that_does_not_answer_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpi_assets.stream.kafka.PATIENCE", 0.5)
    monkeypatch.setattr("kpi_assets.doctor.broker.streams_of", lambda _: ["clicks"])
    config = Settings(home=tmp_path, stream_url="kafka://127.0.0.1:1")
    (found,) = examined.broker(config, None)  # type: ignore[arg-type]
    assert (found.state, found.subject) == ("broken", "broker of clicks")
    assert found.text.startswith("The broker 127.0.0.1:1 does not answer for the stream clicks")
