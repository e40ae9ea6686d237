"""`kpi alerts`, and the alerts that `kpi run` sends at its end."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.alerts.receivers import Mail, Web
from kpi_assets_tests.cli.command import BUCKET, SQL, CliHarness
from kpi_assets_tests.machine import free_port
from kpi_assets_tests.pipeline_harness import RAW_THINGS

DAY = date(2025, 4, 7)
SECRET = "T0PS3CRET"
NAME = "alerted"
YAML = f"""\
description: A pipeline whose alerts are looked at.
bucket: {BUCKET}
start_date: 2025-01-01
layers: {{raw: raw}}
"""


@pytest.fixture
def web() -> Iterator[Web]:
    with Web.open() as opened:
        yield opened


def put(kpi: CliHarness, body: bytes) -> None:
    kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/things/load_date={DAY}/things.csv", Body=body)


def test_a_run_sends_alerts_at_its_end_and_a_dead_channel_does_not_fail_it(
    kpi: CliHarness, web: Web, tmp_path: Path
) -> None:
    folder = tmp_path / NAME
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(YAML)
    (folder / "raw" / "things.sql").write_text(RAW_THINGS)
    environment = {"KPI_SQL_DIR": str(tmp_path), "KPI_ALERT_WEBHOOK_URL": f"{web.url}/{SECRET}"}
    put(kpi, b"thing_id,name,weight\n1,anvil,1.00\n1,anvil,1.00\n")
    dead = {**environment, "KPI_ALERT_SLACK_URL": f"http://127.0.0.1:{free_port()}/{SECRET}"}
    said = kpi("run", NAME, "--load-date", DAY, code=3, **dead)
    title = f"{NAME}, load_date {DAY} is held by its gates; readers keep what was published before"
    [(candidate,)] = kpi.rows("select candidate from ops.pipeline_runs where candidate is not null", database=NAME)
    [(run_id,)] = kpi.rows("select distinct run_id from ops.pipeline_runs", database=NAME)
    detail = f"raw.things: grain (1 bad row); the candidate is kept as {candidate}"
    verdict = f"/runs/{run_id}?logs=step%3A{NAME}__raw__things%7Ctype%3AASSET_CHECK_EVALUATION"
    link = f"http://127.0.0.1:3000{verdict}"
    assert verdict not in said.out, "no web UI is known"
    assert [(body["title"], body["details"], body["link"], body["run_id"]) for body in web.bodies] == [
        (title, [detail], link, run_id)
    ]
    assert said.line("alert: alerted") == f"alert: {title}: {detail} {link}"
    assert said.line("warning:") == (
        "warning: slack did not accept an alert: it cannot be reached (Connection refused); "
        "the next command or the daemon tries again."
    )
    assert SECRET not in said.out + said.err

    listed = kpi.process("alerts", NAME, **environment)
    assert listed.line(f"{DAY} held 20").split()[:2] == [str(DAY), "held"]
    assert listed.line("grain (1 bad row)").startswith(f"{DAY} held")
    assert listed.line("slack").endswith("it cannot be reached (Connection refused)")
    assert SECRET not in listed.out + listed.err

    put(kpi, b"thing_id,name,weight\n1,anvil,1.00\n")
    kpi("backfill", NAME, "--from", DAY, "--to", DAY, **environment)
    assert [body["kind"] for body in web.bodies] == ["held", "recovered"]
    assert kpi("alerts", NAME, **environment).out.startswith(f"No incident of {NAME} is open.\n")


def test_the_option_test_sends_a_message_to_each_channel(kpi: CliHarness, web: Web) -> None:
    with Mail.open() as mail:
        said = kpi(
            *("alerts", "--test"),
            KPI_ALERT_SLACK_URL=web.url,
            KPI_ALERT_WEBHOOK_URL=web.url,
            KPI_ALERT_SMTP_URL=f"smtp://127.0.0.1:{mail.port}",
            KPI_ALERT_EMAIL_FROM="kpi@example.com",
            KPI_ALERT_EMAIL_TO="ops@example.com",
        )
    assert said.out.splitlines() == ["log: sent", "slack: sent", "webhook: sent", "email: sent"]
    assert said.err == (
        "alert: A test of kpi_assets: alerts reach this channel: nothing happened http://127.0.0.1:3000\n"
    )
    assert [set(body) == {"text"} for body in web.bodies] == [True, False]
    assert web.bodies[1]["kind"] == "test"
    assert [took["Subject"] for took in mail.mails] == ["A test of kpi_assets: alerts reach this channel"]


def test_a_channel_that_refuses_the_test_message_is_named(kpi: CliHarness, web: Web) -> None:
    port = free_port()
    said = kpi(
        *("alerts", "--test"),
        code=1,
        KPI_ALERT_LOG="false",
        KPI_ALERT_SLACK_URL=f"http://127.0.0.1:{port}/{SECRET}",
        KPI_ALERT_WEBHOOK_URL=web.url,
    )
    assert said.out.splitlines() == ["slack: failed: it cannot be reached (Connection refused)", "webhook: sent"]
    assert said.err == "error: The test message was not delivered by slack: correct the settings for it.\n"


def test_a_call_without_a_pipeline_or_channel_is_wrong_usage(kpi: CliHarness) -> None:
    kpi.fails("Name a pipeline, or give --test to send a test message.", "alerts", code=2)
    kpi.fails(
        f"There is no pipeline 'nope' in {SQL}: there is ecommerce, instacart, realtime, retail, storefront.",
        *("alerts", "nope"),
        code=2,
    )
    kpi.fails(
        "No alert channel is set: set KPI_ALERT_SLACK_URL or another setting of docs/guides/alerts.md.",
        *("alerts", "--test"),
        KPI_ALERT_LOG="false",
    )


def test_the_digest_is_printed_and_sent_when_asked(kpi: CliHarness, web: Web, tmp_path: Path) -> None:
    tile = "{title: Weight, value: sum(weight), unit: kg}"
    measures = f"kpi: {{chart: {{x: name, y: weight}}, measures: {{kilograms: {tile}}}}}"
    folder = tmp_path / "digested"
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(f"{YAML}boards: {{Things: [things.kilograms]}}\n")
    (folder / "raw" / "things.sql").write_text(RAW_THINGS.replace("columns:", f"{measures}\ncolumns:"))
    environment = {
        "KPI_SQL_DIR": str(tmp_path),
        "KPI_ALERT_LOG": "false",
        "KPI_ALERT_WEBHOOK_URL": web.url,
        "KPI_SERVE_URL": "https://kpi.example.com",
    }
    put(kpi, b"thing_id,name,weight\n1,anvil,1.50\n2,saw,40.50\n")
    kpi("run", "digested", "--load-date", DAY, **environment)
    said = kpi("alerts", "digested", "--digest", **environment)
    assert said.out.splitlines() == [
        "digested: the numbers of Mon 7 Apr",
        "",
        "Things",
        "- Weight: 42 kg; Mon 7 Apr",
        "https://kpi.example.com/pipelines/digested",
    ]
    assert web.bodies == []
    sent = kpi("alerts", "digested", "--digest", "--test", **environment)
    assert sent.out.splitlines()[-1] == "webhook: sent"
    [body] = web.bodies
    assert (body["kind"], body["details"]) == ("digest", ["▪ Things", "Weight: 42 kg; Mon 7 Apr"])
    assert kpi.rows("select count(*) from ops.alerts where kind = 'digest'", database="digested") == [(0,)]
    kpi.fails("Name the pipeline whose digest is to be printed.", "alerts", "--digest", code=2)
