"""The session with the engine: connecting by Spark Connect, statements as text, and rows as Python values.

Each error is one sentence. A lost connection is transient, so that a retry may succeed: the statement may have been
executed or not, which the caller finds out from the ledger and from the table.
Belongs here: the only import of the engine's client. Not here: which statements are executed (tables.py, audit.py).
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from kpi_assets import spark_address
from kpi_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

INSTALL = "install it with `pip install 'kpi_assets[spark]'`"
# Set in every session, so that the defaults of a server change no row. Each is read back: a server may refuse one.
SETTINGS = {
    "spark.sql.ansi.enabled": "true",  # overflow, bad casts and a division by zero are errors, as in Postgres
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    # Names in quotes are columns, and texts only those in single quotes.
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    # A text is what stands there: a backslash escapes the next character, and `${name}` is not replaced.
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.variable.substitute": "false",
}
STATEMENT_TIMEOUT = 6 * 3600.0  # seconds, as long as a run may take
# What gRPC says of a server that is not there, or no longer, and of a session that it has forgotten.
_LOST_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED")
_LOST = ("INVALID_HANDLE.SESSION", "SESSION_CLOSED", "SESSION_NOT_FOUND", "SESSION_CHANGED", "OPERATION_NOT_FOUND")
# Two sessions changed a table at once, and the engine has tried again as often as the table says: nothing is committed.
COMMIT_REFUSED = "COMMIT_REFUSED"
_REFUSED = "CommitFailedException"
_UNKNOWN = "CommitStateUnknownException"  # it may be committed or not
_TRACE = re.compile(r"\n\s*(JVM stacktrace|at \w+[.\w$]+\()", re.MULTILINE)
_LONGEST = 400  # letters of what the engine says


class EngineError(UserError):
    """The engine cannot be used, or a statement failed on it; `condition` is its name of the error, if it has one."""

    def __init__(self, sentence: str, *, transient: bool = False, condition: str = "") -> None:
        super().__init__(sentence, transient=transient)
        self.condition = condition


def place_of(url: SecretStr) -> str:
    """Return host and port of the engine's address, for people."""
    address = spark_address.parse(url.get_secret_value())
    return address.place if address else "an address that cannot be read"


class Engine:
    """A session with the engine. It must be closed: the client's own clean-up may block the next session."""

    def __init__(self, session: Any, place: str) -> None:
        self._session, self.place = session, place
        self.version = ""
        self.statements = 0  # that were executed in this session, for the metadata of a build

    @classmethod
    def connect(
        cls, url: SecretStr, token: SecretStr | None = None, *, name: str = "kpi", timeout: float = 30.0
    ) -> "Engine":
        """Open a session, within so many seconds. Raises EngineError, which is transient if the server is not there."""
        try:
            from pyspark.errors import PySparkException  # noqa: PLC0415  an extra, and slow to import
            from pyspark.sql.connect.client import DefaultChannelBuilder  # noqa: PLC0415
            from pyspark.sql.connect.client.retries import DefaultPolicy  # noqa: PLC0415
            from pyspark.sql.connect.session import SparkSession  # noqa: PLC0415
        except ImportError as error:
            raise EngineError(f"The client of Spark Connect is not installed ({error}): {INSTALL}.") from None
        # The client logs each error by itself, with the values that it quotes. The sentence that is raised says all.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        place = place_of(url)
        options = [
            # A server that has vanished is noticed within about a minute, however long a statement runs.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 0),
        ]
        try:
            builder = DefaultChannelBuilder(url.get_secret_value(), options)
        except (PySparkException, ValueError):
            raise EngineError(
                "KPI_SPARK_URL is no address of Spark Connect: write sc://host:port, with ;use_ssl=true behind a slash "
                "where the server has TLS."
            ) from None
        builder.set("user_agent", "kpi_assets")
        builder.set("user_id", "kpi_assets")
        if token is not None:
            builder.set("token", token.get_secret_value())
        _wait_until_there(builder, place, timeout, has_token=token is not None)
        session = SparkSession(builder)
        # Some seconds of a server that starts again are bridged; who waits longer tries again as a whole.
        session.client.set_retry_policies([DefaultPolicy(max_retries=5, max_backoff=4_000)])
        session.client.close = partial(_close_alone, session.client)
        engine = cls(session, place)
        try:
            engine._configure(name)
        except BaseException:
            engine.close()
            raise
        return engine

    def _configure(self, name: str) -> None:
        with self._errors("opening a session"), self._limited(60.0):
            found = self.settings()
            differ = {name: value for name, value in SETTINGS.items() if found[name].lower() != value.lower()}
            for setting, value in differ.items():
                self._session.conf.set(setting, value)
            found = self.settings() if differ else found
            self.version = self._session.version
            self._session.addTag(re.sub(r"[^\w.-]", "-", f"kpi-{name}")[:60])
        for setting, value in SETTINGS.items():
            if found[setting].lower() != value.lower():
                raise EngineError(
                    f"The engine at {self.place} keeps {setting} = {found[setting]}, and {value} is needed for the "
                    "same values as in Postgres: let sessions set it."
                )
        if int(self.version.split(".")[0]) < 4:
            raise EngineError(f"The engine at {self.place} is Spark {self.version}: Spark 4 or later is needed.")

    def settings(self) -> dict[str, str]:
        """Return what the session has of the settings that decide on values, by one request."""
        return dict(zip(SETTINGS, map(str, self._session.client.get_configs(*SETTINGS)), strict=True))

    def execute(self, statement: str, *, timeout: float = STATEMENT_TIMEOUT) -> None:
        """Execute a statement whose rows do not matter. Raises EngineError."""
        with self._errors(), self._limited(timeout):
            self._session.sql(statement)
        self.statements += 1

    def rows(self, statement: str, *, timeout: float = STATEMENT_TIMEOUT) -> list[tuple[Any, ...]]:
        """Return all rows of a statement, for results that are small. Raises EngineError."""
        return [
            row
            for batch in self.batches(statement, timeout=timeout)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        ]

    def value(self, statement: str) -> Any:
        """Return the first column of the first row; None if there is no row."""
        found = self.rows(statement)
        return found[0][0] if found else None

    def records(self, statement: str) -> list[dict[str, Any]]:
        """Return all rows of a statement as dicts."""
        return [row for batch in self.batches(statement) for row in batch.to_pylist()]

    def batches(self, statement: str, *, timeout: float = STATEMENT_TIMEOUT) -> Iterator["pa.Table"]:
        """Yield the rows of a statement in Arrow's batches, as they come. Raises EngineError."""
        import pyarrow as pa  # noqa: PLC0415

        with self._errors(), self._limited(timeout):
            frame = self._session.sql(statement)
            plan = frame._plan.to_proto(self._session.client)
            for each in self._session.client.to_table_as_iterator(plan, {}):
                if isinstance(each, pa.Table) and each.num_rows:
                    yield each
        self.statements += 1

    def interrupt(self) -> None:
        """End what the session executes, from another thread; its statement then raises EngineError."""
        with suppress(Exception):
            if self._session is not None:
                self._session.interruptAll()

    def close(self) -> None:
        """End the session and its connection. Nothing is raised, and a second call does nothing."""
        session, self._session = self._session, None
        if session is None:
            return
        with suppress(Exception), _timer(20.0, session.client.close):
            session.client.release_session()
        with suppress(Exception):
            session.client.close()
        # Its __del__ would close it again, from whichever thread collects it.
        session.release_session_on_close = False

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _limited(self, timeout: float) -> Iterator[None]:
        """Interrupt what the session executes after so many seconds."""
        if self._session is None:
            raise EngineError(f"The session with the engine at {self.place} is closed.", transient=True)
        with _timer(timeout, self._session.interruptAll):
            yield

    @contextmanager
    def _errors(self, doing: str = "a statement") -> Iterator[None]:
        """Turn what the client raises into an EngineError of one sentence."""
        try:
            yield
        except (EngineError, GeneratorExit):
            raise
        except Exception as error:
            raise _explained(error, doing, self.place) from None


def _close_alone(client: Any) -> None:
    """Close the connection of one session, when it ends or is collected.

    The client's own close() also ends the threads that all sessions of a process share, so that a statement of another
    one fails.
    """
    client._channel.close()
    client._closed = True


def _wait_until_there(builder: Any, place: str, timeout: float, *, has_token: bool) -> None:
    """Wait until a connection stands: the client itself would try for some ten minutes."""
    import grpc  # noqa: PLC0415

    channel = builder.toChannel()
    try:
        grpc.channel_ready_future(channel).result(timeout=timeout)
    except grpc.FutureTimeoutError:
        tls = "" if builder.use_ssl or not has_token else " (a token travels by TLS only, unless the host is localhost)"
        raise EngineError(
            f"The engine at {place} did not answer within {timeout:.0f} seconds{tls}: start Spark Connect there, or "
            "correct KPI_SPARK_URL.",
            transient=True,
        ) from None
    finally:
        channel.close()


@contextmanager
def _timer(seconds: float, stop: Any) -> Iterator[None]:
    """Call `stop` after so many seconds, unless the block has ended."""

    def interrupt() -> None:
        with suppress(Exception):
            stop()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _explained(error: Exception, doing: str, place: str) -> EngineError:
    """Return an error of the client as one sentence."""
    said = str(error)
    code = _grpc_code(error)
    condition = ""
    with suppress(Exception):
        condition = str(error.getCondition() or "")  # type: ignore[attr-defined]
    if "UNAUTHENTICATED" in (code, condition) or "UNAUTHENTICATED" in said or "Invalid authentication token" in said:
        return EngineError(
            f"The engine at {place} refused the login: give the token of its spark.connect.authenticate.token in "
            "KPI_SPARK_TOKEN."
        )
    if "OPERATION_CANCELED" in condition or "OPERATION_CANCELED" in said:
        return EngineError(f"The engine at {place} was interrupted during {doing}.", condition="OPERATION_CANCELED")
    is_lost = code in _LOST_CODES or any(word in condition or word in said[:400] for word in _LOST)
    is_lost = is_lost or type(error).__name__ == "RetriesExceeded" or "StatusCode.UNAVAILABLE" in said
    if is_lost:
        return EngineError(
            f"The connection to the engine at {place} was lost during {doing} ({_first(said)}).",
            transient=True,
            condition=condition,
        )
    is_unknown = _UNKNOWN in said
    is_refused = _REFUSED in said and not is_unknown
    return EngineError(
        f"The engine at {place} refused {doing}: {_first(said)}",
        transient=is_refused or is_unknown,
        condition=COMMIT_REFUSED if is_refused else condition,
    )


def _grpc_code(error: Exception) -> str:
    found = getattr(error, "code", None)
    with suppress(Exception):
        return str(found().name) if callable(found) else ""
    return ""


def _first(said: str) -> str:
    """Return what the engine says in one line, without the trace of its own code."""
    text = " ".join(_TRACE.split(said)[0].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
