"""Credentials of AWS for obstore, found by boto3: profiles, roles and single sign-on, which obstore does not know.

Belongs here: asking boto3. Not here: credentials in the environment, for which nothing of boto3 is imported (lake.py).
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from boto3 import Session
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from kpi_assets.sources.boto_refusals import no_credentials, unusable
from kpi_assets.sources.refusals import LakeError

if TYPE_CHECKING:
    from obstore.store import S3Credential

ASKED_AGAIN = timedelta(minutes=10)  # boto3 renews credentials 15 minutes before they expire


def provider() -> "Callable[[], S3Credential]":
    """Return a function that returns the credentials that boto3 finds, renewed when they expire. Raises LakeError."""
    try:
        found = Session().get_credentials()
        if found is None:
            raise NoCredentialsError
        found.get_frozen_credentials()
    except (NoCredentialsError, CredentialRetrievalError, TokenRetrievalError, SSOError) as error:
        raise LakeError(f"S3 cannot be used: {no_credentials(error)}.") from None
    except BotoCoreError as error:
        raise unusable(error) from None

    def credentials() -> "S3Credential":
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + ASKED_AGAIN,
        }

    return credentials
