"""Markdown: tables, code and the note at the head of a generated page."""

from collections.abc import Iterable, Sequence


def page_of(title: str, *parts: str) -> str:
    """Return a page: the note, its title, and its parts with an empty line between them."""
    note = "<!-- Written by `python -m kpi_assets.docs`. Change the code and run it again; do not edit this page. -->"
    return "\n\n".join(part.strip("\n") for part in (note, f"# {title}", *parts) if part) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. A `|` within a cell is escaped, and a line end becomes a space."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def code(text: str, language: str = "") -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip()}\n```"


def nested(text: str) -> str:
    """Return the text with each heading one level deeper."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.split("\n"))


def word(text: object) -> str:
    """Return a word of code within a sentence."""
    return f"`{text}`"


def listed(words: Sequence[str], last: str = "or") -> str:
    """Return words as part of a sentence: `a`, `a or b`, `a, b or c`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
