"""What is sent to each channel, and how a channel that fails is reported without its secret."""

import datetime as dt
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from kpi_assets.alerts.channels import Channel, ChannelError, Email, Log, Slack, Webhook, channels
from kpi_assets.alerts.delivery import send_within
from kpi_assets.alerts.message import Message, Pages, message_of
from kpi_assets.ledger.deliveries import Alert
from kpi_assets.settings import Settings
from kpi_assets_tests.alerts.receivers import Mail, Web, silent
from kpi_assets_tests.machine import free_port

SECRET = "T0PS3CRET"
AT = dt.datetime(2025, 6, 11, 2, 3, 4, tzinfo=dt.timezone.utc)
ALERT = Alert(
    7,
    "shop",
    dt.date(2025, 6, 11),
    "held",
    "run-1",
    "raw.things",
    ["raw.things: grain (1 bad row <!channel> & *more*)", "s3.others: exists (s3://b/k is not there)"],
    AT,
)
MESSAGE = message_of([ALERT], "https://dagster.example.com/ui")
TITLE = "shop, load_date 2025-06-11 is held by its gates; readers keep what was published before"
STEP = "https://dagster.example.com/ui/runs/run-1?logs=step%3Ashop__raw__things"
LINK = f"{STEP}%7Ctype%3AASSET_CHECK_EVALUATION"


def alert(**changes: object) -> Alert:
    return Alert(**{**vars(ALERT), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "title", "link"),
    [
        ({}, TITLE, LINK),
        ({"job": "s3.things"}, TITLE, LINK.replace("raw", "s3")),
        ({"job": "shop"}, TITLE, "https://dagster.example.com/ui/runs/run-1"),
        ({"kind": "failed"}, "shop, load_date 2025-06-11 failed", STEP),
        ({"kind": "failed", "job": None}, "shop, load_date 2025-06-11 failed", STEP.partition("?")[0]),
        (
            {"kind": "late", "run_id": None, "job": None},
            "shop, load_date 2025-06-11 is late",
            "https://dagster.example.com/ui/assets/shop/s3",
        ),
        (
            {"kind": "late", "run_id": None, "job": "marts.kpi_things"},
            "shop, load_date 2025-06-11 is late",
            "https://dagster.example.com/ui/assets/shop/marts/kpi_things?view=partitions&partition=2025-06-11",
        ),
        (
            {"kind": "recovered", "job": None},
            "shop, load_date 2025-06-11 has recovered: it is published",
            "https://dagster.example.com/ui/runs/run-1",
        ),
        (
            {"kind": "stalled", "load_date": None, "run_id": None, "job": "shop_sensor"},
            "shop, shop_sensor is stalled: it fails again and again",
            "https://dagster.example.com/ui/automation",
        ),
        (
            {"kind": "recovered", "load_date": None, "run_id": None, "job": "shop_sensor"},
            "shop, shop_sensor has recovered",
            "https://dagster.example.com/ui/automation",
        ),
        (
            {"kind": "failed", "job": "shop", "load_date": None, "run_id": "a/b?c"},
            "shop failed",
            "https://dagster.example.com/ui/runs/a%2Fb%3Fc",
        ),
    ],
)
def test_a_message_says_what_happened_and_where_to_look(changes: dict[str, object], title: str, link: str) -> None:
    message = message_of([alert(**changes)], "https://dagster.example.com/ui")
    assert (message.title, message.link) == (title, link)


PAGES = Pages(None, {"marts.kpi_things": "https://pages/kpi/shop/kpi_things"})
BREACHED = {"kind": "breached", "job": "marts.kpi_things", "measure": "things"}


@pytest.mark.parametrize(
    ("changes", "title", "link"),
    [
        (
            BREACHED,
            "shop, load_date 2025-06-11: marts.kpi_things.things is beyond its threshold",
            "https://pages/kpi/shop/kpi_things?measure=things&load_date=2025-06-11",
        ),
        (
            {**BREACHED, "kind": "recovered"},
            "shop, load_date 2025-06-11: marts.kpi_things.things has recovered",
            "https://pages/kpi/shop/kpi_things?measure=things&load_date=2025-06-11",
        ),
        ({"job": "marts.kpi_things"}, TITLE, "https://pages/kpi/shop/kpi_things"),
        (
            {"job": "marts.kpi_things", "kind": "late", "run_id": None},
            "shop, load_date 2025-06-11 is late",
            "https://pages/kpi/shop/kpi_things",
        ),
        ({}, TITLE, LINK),
    ],
)
def test_a_message_about_a_kpi_leads_to_its_page(changes: dict[str, object], title: str, link: str) -> None:
    message = message_of([alert(**changes)], "https://dagster.example.com/ui", pages=PAGES)
    assert (message.title, message.link) == (title, link)


def test_a_message_about_a_held_kpi_leads_to_its_checks_too() -> None:
    held = alert(job="marts.kpi_things", details=["marts.kpi_things: grain"])
    step = STEP.replace("raw__things", "marts__kpi_things") + "%7Ctype%3AASSET_CHECK_EVALUATION"
    assert message_of([held], "https://dagster.example.com/ui").details == ["marts.kpi_things: grain"]
    with_page = message_of([held], "https://dagster.example.com/ui", pages=PAGES)
    assert with_page.details == ["marts.kpi_things: grain", f"In Dagster: {step}"]


def test_a_message_about_several_measures_names_them() -> None:
    several = [alert(id=number, **BREACHED, details=[f"{number}"]) for number in (1, 2)]
    several[1] = alert(**{**vars(several[1]), "measure": "weight"})
    message = message_of(several, "https://dagster.example.com/ui", pages=PAGES)
    assert message.title == "shop: marts.kpi_things.things, marts.kpi_things.weight are beyond their thresholds"
    assert message.link == "https://pages/kpi/shop/kpi_things?load_date=2025-06-11"
    assert message.details[:2] == ["2025-06-11: 1", "2025-06-11: 2"]


@pytest.mark.parametrize(
    ("days", "link"),
    [
        (0, LINK),
        (3, LINK),
        (2, "https://dagster.example.com/ui/assets/shop/raw/things?view=partitions&partition=2025-06-11"),
    ],
)
def test_a_run_that_may_be_deleted_by_now_gets_no_link(days: int, link: str) -> None:
    opened = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=2)
    assert message_of([alert(opened_at=opened)], "https://dagster.example.com/ui", days).link == link


UI = "https://ui"
LISTED = "`kpi alerts shop` lists those that are open, and ops.alerts all"


def days(count: int, **changes: object) -> list[Alert]:
    """Return an alert for each of `count` load_dates, each from its own run."""
    return [
        alert(**{"id": 7 + n, "run_id": f"run-{n}", "load_date": AT.date() + dt.timedelta(days=n), **changes})
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("alerts", "kind", "title", "details", "link", "run_id"),
    [
        (
            days(2, details=["raw.things: grain (1 bad row)"]),
            "held",
            "shop, 2 load_dates from 2025-06-11 to 2025-06-12 are held by their gates; "
            "readers keep what was published before",
            [f"2025-06-{day}: raw.things: grain (1 bad row)" for day in (11, 12)] + [LISTED],
            LINK.replace("https://dagster.example.com/ui", UI).replace("run-1", "run-0"),
            None,
        ),
        (
            days(1000, kind="recovered", job=None, run_id="run-1", details=["it was held"]),
            "recovered",
            "shop, 1,000 load_dates from 2025-06-11 to 2028-03-06 have recovered",
            [f"2025-06-{day}: it was held" for day in range(11, 16)] + ["and 995 more", LISTED],
            f"{UI}/runs/run-1",
            "run-1",
        ),
        (
            days(2, kind="failed", load_date=None, job=None, details=["no disk"]),
            "failed",
            "shop, 2 runs failed",
            ["run-0: no disk", "run-1: no disk", LISTED],
            f"{UI}/runs",
            None,
        ),
        (
            [*days(3), *days(2, kind="late", run_id=None, details=[])],
            "summary",
            "shop: 5 alerts at once (3 held, 2 late)",
            [
                "shop, 3 load_dates from 2025-06-11 to 2025-06-13 are held by their gates; "
                "readers keep what was published before",
                "shop, 2 load_dates from 2025-06-11 to 2025-06-12 are late",
                LISTED,
            ],
            f"{UI}/runs",
            None,
        ),
    ],
)
def test_several_alerts_are_one_message(
    alerts: list[Alert], kind: str, title: str, details: list[str], link: str, run_id: str | None
) -> None:
    message = message_of(alerts, UI)
    assert (message.kind, message.title, message.link, message.run_id) == (kind, title, link, run_id)
    assert message.details == details
    assert (message.count, message.load_date) == (len(alerts), None)
    assert message.load_dates == sorted({str(each.load_date) for each in alerts if each.load_date})
    assert message.key == message_of(alerts, UI).key, "a message that is sent again has the same key"
    assert message.key != message_of(alerts[:-1], UI).key, "a message about more alerts has another key"


def test_long_details_are_cut() -> None:
    message = message_of([alert(details=["x" * 600, *(f"raw.t{n}: why" for n in range(7))])], "http://ui")
    assert [len(detail) for detail in message.details] == [500, 11, 11, 11, 11, 10]
    assert message.details[-1] == "and 3 more"


def test_slack_is_sent_escaped_text_and_nothing_else(web: Web) -> None:
    Slack(SecretStr(web.url)).send(MESSAGE, 5)
    assert web.bodies == [
        {
            "text": f"*{TITLE}*\n• raw.things: grain (1 bad row &lt;!channel&gt; &amp; *more*)\n"
            f"• s3.others: exists (s3://b/k is not there)\n<{LINK}|Open in Dagster>"
        }
    ]


def test_a_webhook_is_sent_every_field(web: Web) -> None:
    Webhook(SecretStr(web.url)).send(MESSAGE, 5)
    assert web.bodies == [
        {
            "key": "shop.7",
            "kind": "held",
            "pipeline": "shop",
            "load_date": "2025-06-11",
            "title": TITLE,
            "details": ALERT.details,
            "link": LINK,
            "run_id": "run-1",
            "at": "2025-06-11T02:03:04+00:00",
            "count": 1,
            "load_dates": ["2025-06-11"],
        }
    ]


def test_the_log_channel_writes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kpi_assets.alerts"):
        Log().send(MESSAGE, 5)
    assert caplog.messages == [f"alert: {TITLE}: {'; '.join(ALERT.details)} {LINK}"]


def test_a_mail_has_title_details_and_link_and_reaches_those_who_are_not_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Mail.open() as mail:
        mail.refused = ["gone@example.com"]
        url = SecretStr(f"smtp://127.0.0.1:{mail.port}")
        Email(url, "kpi@example.com", ("ops@example.com", "gone@example.com")).send(MESSAGE, 5)
    [took] = mail.mails
    assert mail.recipients == [["ops@example.com"]], "a refused recipient does not keep the mail from the other"
    assert caplog.messages == ["the mail server refused 1 of the 2 recipients"]
    assert (took["Subject"], took["From"], took["To"]) == (
        TITLE,
        "kpi@example.com",
        "ops@example.com, gone@example.com",
    )
    assert (took["Message-ID"], took["Auto-Submitted"]) == ("<shop.7@kpi-assets>", "auto-generated")
    assert took.get_content().splitlines() == [TITLE, *(f"- {detail}" for detail in ALERT.details), LINK]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context of a server for 127.0.0.1, and the file that makes a client trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    return context, public


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_is_sent_over_tls(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    context, public = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with Mail.open("p@ss/word", context, from_the_start=scheme == "smtps") as mail:
        url = SecretStr(f"{scheme}://someone:p%40ss%2Fword@127.0.0.1:{mail.port}")
        Email(url, "kpi@example.com", ("ops@example.com",)).send(MESSAGE, 5)
    assert mail.logins == [("someone", "p@ss/word")]
    assert [took["Subject"] for took in mail.mails] == [TITLE]


def test_a_password_is_not_sent_without_trusted_tls(certificate: tuple[ssl.SSLContext, Path]) -> None:
    context, _ = certificate
    for with_tls, reason in (
        (None, "the mail server offers no TLS, so it was not given the password"),
        (context, r"it cannot be reached \(.*certificate verify failed.*\)"),
    ):
        with Mail.open(SECRET, with_tls) as mail:
            url = SecretStr(f"smtp://someone:{SECRET}@127.0.0.1:{mail.port}")
            with pytest.raises(ChannelError, match=f"^{reason}$"):
                Email(url, "kpi@example.com", ("ops@example.com",)).send(MESSAGE, 5)
        assert (mail.logins, mail.mails) == ([], [])


def test_a_refusal_of_the_mail_server_is_reported_by_its_codes(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, public = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with Mail.open("another", context) as mail:
        url = SecretStr(f"smtp://someone:{SECRET}@127.0.0.1:{mail.port}")
        with pytest.raises(ChannelError, match=r"^it refused with code 535 \(SMTPAuthenticationError\)$"):
            Email(url, "kpi@example.com", ("ops@example.com",)).send(MESSAGE, 5)
    with Mail.open() as mail:
        mail.refused = ["ops@example.com"]
        url = SecretStr(f"smtp://127.0.0.1:{mail.port}")
        with pytest.raises(ChannelError, match=r"^it refused every recipient with code 550$"):
            Email(url, "kpi@example.com", ("ops@example.com",)).send(MESSAGE, 5)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (404, "it answered 404 Not Found"),
        (500, "it answered 500 Internal Server Error"),
        (302, "it answered 302 Found"),
        (799, "it answered 799"),
    ],
)
def test_an_answer_other_than_success_is_reported_by_its_status(web: Web, code: int, reason: str) -> None:
    web.answers = [code]
    with pytest.raises(ChannelError, match=f"^{reason}$"):
        Webhook(SecretStr(f"{web.url}/{SECRET}")).send(MESSAGE, 5)
    assert web.paths == [f"POST /hook/{SECRET}"], (
        "a redirect is not followed: the answer of its target would prove nothing"
    )


CHANNELS: list[Callable[[str], Channel]] = [
    lambda place: Slack(SecretStr(f"http://{place}/{SECRET}")),
    lambda place: Email(SecretStr(f"smtp://{SECRET}:{SECRET}@{place}"), "kpi@example.com", ("ops@example.com",)),
]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_that_cannot_be_reached_is_an_error(channel: Callable[[str], Channel]) -> None:
    with pytest.raises(ChannelError, match=r"^it cannot be reached \(Connection refused\)$"):
        channel(f"127.0.0.1:{free_port()}").send(MESSAGE, 5)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("trickle", [b"", b"2"])
def test_no_channel_waits_longer_than_its_limit(channel: Callable[[str], Channel], trickle: bytes) -> None:
    with silent(trickle) as place:
        begun = time.monotonic()
        with pytest.raises(ChannelError, match=r"^it (did not answer within 0 seconds|cannot be reached \(.*\))$"):
            send_within(channel(place), MESSAGE, 0.3)
        assert time.monotonic() - begun < 1


def test_an_answer_that_is_not_http_is_reported_without_its_text() -> None:
    with silent(f"{SECRET}\r\n".encode()) as place, pytest.raises(ChannelError) as failure:
        Slack(SecretStr(f"http://{place}/{SECRET}")).send(MESSAGE, 5)
    assert str(failure.value) == "it cannot be reached (BadStatusLine)"


def test_an_unexpected_error_of_a_channel_is_reported_without_its_text() -> None:
    class Broken:
        name = "broken"

        def send(self, message: Message, seconds: float) -> None:
            raise ValueError(SECRET)

    with pytest.raises(ChannelError, match=r"^the message cannot be sent \(ValueError\)$"):
        send_within(Broken(), MESSAGE, 5)


def test_the_settings_choose_the_channels() -> None:
    assert channels(Settings()) == [Log()]
    chosen = channels(
        Settings(
            alert_log=False,
            alert_slack_url="https://hooks.slack.com/services/x",
            alert_webhook_url="https://example.com/hook",
            alert_email_from="kpi@example.com",
            alert_email_to="a@example.com, b@example.com,",
            alert_smtp_url="smtps://mail.example.com",
        )
    )
    assert [channel.name for channel in chosen] == ["slack", "webhook", "email"]
    assert isinstance(chosen[2], Email)
    assert chosen[2].recipients == ("a@example.com", "b@example.com")
    assert "services" not in repr(chosen)


# ---- digests

DIGEST_PAGES = Pages("https://kpi.example.com/pipelines/shop", {})
DIGEST = Alert(
    9,
    "shop",
    None,
    "digest",
    None,
    None,
    [
        "shop: Wed 25 Nov is held: its data did not pass",
        "Wed 25 Nov is held: its data did not pass. All KPIs show Tue 24 Nov, the last good day.",
        "▪ Growth & <more>",
        "Orders: 7,701 orders, +3.0 % vs Tue 17 Nov (7,480); Tue 24 Nov, the last good day",
        "A <b>: –; nothing is published yet",
    ],
    AT,
)


def test_a_digest_is_a_title_and_its_boards_and_leads_to_the_pages() -> None:
    message = message_of([DIGEST], UI, pages=DIGEST_PAGES)
    assert (message.kind, message.title, message.link) == (
        "digest",
        DIGEST.details[0],
        "https://kpi.example.com/pipelines/shop",
    )
    assert message.text() == (
        "shop: Wed 25 Nov is held: its data did not pass\n"
        "- Wed 25 Nov is held: its data did not pass. All KPIs show Tue 24 Nov, the last good day.\n"
        "\nGrowth & <more>\n"
        "- Orders: 7,701 orders, +3.0 % vs Tue 17 Nov (7,480); Tue 24 Nov, the last good day\n"
        "- A <b>: –; nothing is published yet\n"
        "https://kpi.example.com/pipelines/shop"
    )
    assert message_of([DIGEST], UI).link == UI, "where nobody knows the address of the pages"
    assert MESSAGE.html() is None


def test_a_digest_with_many_tiles_names_them_all() -> None:
    lines = [f"Orders {number}: 1; Tue 24 Nov" for number in range(120)]
    details = message_of([alert(kind="digest", details=["shop: numbers", *lines])], UI).details
    assert details == lines[:100]


def test_a_digest_for_slack_has_its_boards_in_bold(web: Web) -> None:
    Slack(SecretStr(web.url)).send(message_of([DIGEST], UI, pages=DIGEST_PAGES), 5)
    lines = web.bodies[0]["text"].split("\n")
    assert lines[2:4] == [
        "*Growth &amp; &lt;more&gt;*",
        "• Orders: 7,701 orders, +3.0 % vs Tue 17 Nov (7,480); Tue 24 Nov, the last good day",
    ]
    assert lines[-1] == "<https://kpi.example.com/pipelines/shop|Open>"


def test_a_digest_by_mail_is_text_and_html_in_which_nothing_of_it_is_markup() -> None:
    with Mail.open() as mail:
        url = SecretStr(f"smtp://127.0.0.1:{mail.port}")
        Email(url, "kpi@example.com", ("ann@example.com",)).send(message_of([DIGEST], UI), 5)
    [received] = mail.mails
    text, html = (received.get_body((kind,)) for kind in ("plain", "html"))
    assert text and html
    assert "- Orders: 7,701 orders" in text.get_content()
    found = html.get_content()
    assert "Growth &amp; &lt;more&gt;</h2>" in found
    assert "<b>7,701 orders, +3.0 % vs Tue 17 Nov (7,480)</b><br><small>Tue 24 Nov, the last good day</small>" in found
    assert "A &lt;b&gt;" in found and "A <b>" not in found
    assert "<p>Wed 25 Nov is held: its data did not pass. All KPIs" in found
