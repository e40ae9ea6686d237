"""The secrets of this process's settings, and text without them.

Belongs here: replacing them in what is said or stored. Not here: which settings are secret (settings.py).
Every UserError passes through `scrub`, and so does what the command prints or logs of errors that are none of ours:
what a library quotes reaches neither a terminal, nor a log, nor a table.
"""

from collections.abc import Iterable

LEAST = 6  # characters; a shorter word would be replaced inside of others
_known: tuple[str, ...] = ()


def keep_secret(words: Iterable[str]) -> None:
    """Take these, and no others, for the secrets of this process; those that are shorter than LEAST are left out."""
    global _known  # noqa: PLW0603  one process has one environment
    _known = tuple(sorted({word for word in words if len(word) >= LEAST}, key=len, reverse=True))


def scrub(text: str) -> str:
    """The text with `***` in the place of every secret."""
    for word in _known:
        text = text.replace(word, "***")
    return text
