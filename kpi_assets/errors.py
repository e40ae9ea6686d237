"""Errors that the user can fix, each with a sentence that says how.

Belongs here: errors that several packages use. An error that only one package raises and handles belongs there.
"""

from kpi_assets.scrub import scrub


class UserError(Exception):
    """An error that the user can fix: one sentence that names the file, object or setting, and says what to do.

    The command line prints the sentence without a stack trace and exits with `exit_code`. `transient` says that the
    cause may disappear by itself, as with a lost connection, so that a retry makes sense. Secrets of the settings are
    removed from the sentence, even where it quotes a library.
    """

    exit_code = 1

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        super().__init__(scrub(sentence))
        self.transient = transient

    @property
    def sentences(self) -> list[str]:
        """The sentence, or one sentence for each of several problems."""
        return [str(self)]


class UsageError(UserError):
    """The arguments of a command are wrong: an unknown pipeline, a bad date."""

    exit_code = 2
