"""Removes the secrets of this process's settings from text.

Every UserError passes through `scrub`, and so does every foreign error that a command prints or logs: a secret that a
library quotes reaches no terminal, log or table. Not here: which settings are secret (settings.py).
"""

from collections.abc import Iterable

LEAST = 6  # characters; a shorter word would be replaced inside of others
_known: tuple[str, ...] = ()


def keep_secret(words: Iterable[str]) -> None:
    """Set the secrets of this process, in place of earlier ones; words shorter than LEAST are ignored."""
    global _known  # noqa: PLW0603  one process has one environment
    _known = tuple(sorted({word for word in words if len(word) >= LEAST}, key=len, reverse=True))


def keep_secret_too(words: Iterable[str]) -> None:
    """Add to the secrets of this process, such as those that only some processes know."""
    keep_secret([*_known, *words])


def scrub(text: str) -> str:
    """Return the text with `***` in the place of every secret."""
    for word in _known:
        text = text.replace(word, "***")
    return text
