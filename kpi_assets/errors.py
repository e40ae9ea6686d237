"""Errors that a person can mend, each with a sentence that says how.

Belongs here: the errors that cross packages. An error that only one package raises and handles stays there.
"""

from kpi_assets.scrub import scrub


class UserError(Exception):
    """Something a person can mend: one sentence that names the file, object or setting, and says what to do.

    The command line prints it without a stack trace and exits with `exit_code`. `transient` says that it may go away by
    itself, as a lost connection does: then the same is tried again. No secret of the settings is in it, whatever a
    library said.
    """

    exit_code = 1

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        super().__init__(scrub(sentence))
        self.transient = transient

    @property
    def sentences(self) -> list[str]:
        """What it says: one sentence, or one for each of several things that are wrong."""
        return [str(self)]


class UsageError(UserError):
    """The command was called with words that make no sense: an unknown pipeline, a bad date."""

    exit_code = 2
