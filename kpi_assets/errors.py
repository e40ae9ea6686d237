"""What goes wrong, in words for the person who can mend it.

Belongs here: the errors that cross rooms. An error that only one room raises and handles stays in that room.
"""


class UserError(Exception):
    """Something a person can mend: one sentence that names the file, object or setting, and says what to do.

    The command line prints it without a stack trace and exits with `exit_code`.
    """

    exit_code = 1


class UsageError(UserError):
    """The command was called with words that make no sense: an unknown pipeline, a bad date."""

    exit_code = 2
