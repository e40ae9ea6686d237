"""The errors of asking an API.

Not here: when they are raised.
"""

from kpi_assets.errors import UserError


class ApiError(UserError):
    """An API did not give all records of a load_date."""


class FailedError(Exception):
    """One request failed, in a way that may pass by itself. The message quotes nothing that was sent."""


class RefusedError(Exception):
    """One request failed, and would fail again. The message says what to do, and quotes nothing that was sent."""


class TornError(Exception):
    """The pages of one round do not belong together."""
