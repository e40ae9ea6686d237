"""Figures as text that Prometheus reads."""

from collections.abc import Iterable, Sequence

from kpi_assets.telemetry.figures import Figure
from kpi_assets.telemetry.instruments import OF_THE_LEDGER


def text_of(figures: Sequence[Figure]) -> str:
    """Return figures in Prometheus's format; a metric without figures is left out."""
    return "".join(
        f"# HELP {each.prometheus} {each.meaning}\n# TYPE {each.prometheus} {each.kind}\n" + "".join(_lines(own))
        for each in OF_THE_LEDGER
        if (own := [figure for figure in figures if figure.instrument is each])
    )


def _lines(figures: Iterable[Figure]) -> Iterable[str]:
    for figure in figures:
        named = zip(figure.instrument.labels, figure.labels, strict=True)
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in named)
        yield f"{figure.instrument.prometheus}{{{labels}}} {_number(figure.value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
