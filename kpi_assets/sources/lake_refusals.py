"""Turns errors of obstore into one sentence with the cause and the remedy.

Belongs here: the refusals of S3, Azure and a folder, and the failures of the network. Not here: the requests (lake.py),
and what a code of S3 means (refusals.py). Only codes are quoted, since the rest of an error may contain a secret.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from obstore.exceptions import BaseError

from kpi_assets.lake_places import Place, object_url
from kpi_assets.sources.refusals import CHECK, NO_S3, REASON, UNKNOWN, LakeError

_MISSING_CONTAINER = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_TAKEN = {"PreconditionFailed", "BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}
_STATUS = re.compile(r"(?:status |\()code: ([0-9]{3})")  # in parentheses: of one key among those to delete
_CODE = re.compile(r"<Code>([\w.-]{1,60})</Code>")
_HOST = re.compile(r"Error performing [A-Z]+ https?://([^/?\s]+)")
_AZURE_ROLE = (
    "access is refused ({code}): Azure knows who asks, and they may not do this: give them the role Storage Blob Data "
    "Contributor of the container"
)
_AZURE_KEY = (
    "access is refused ({code}): Azure does not accept the credentials: correct AZURE_STORAGE_ACCOUNT_KEY or the other "
    "variables of Azure, and look at the clock of this machine"
)
# What Azure says, where it is something else than what S3 would mean by the same code or status.
_AZURE: Mapping[str, str] = {
    "404": "the container or the storage account does not exist: create it, or correct KPI_LAKE_URL",
    "403": (
        "access is refused ({code}), and the answer does not say why: check the credentials in Azure's variables, the "
        "roles of who asks, the firewall of the storage account, and the clock of this machine"
    ),
    "401": _AZURE_KEY,
    **dict.fromkeys(_MISSING_CONTAINER, "the container does not exist: create it, or correct KPI_LAKE_URL"),
    **dict.fromkeys(
        ("AuthenticationFailed", "AuthorizationFailure", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
        _AZURE_KEY,
    ),
    **dict.fromkeys(
        ("AuthorizationPermissionMismatch", "InsufficientAccountPermissions", "AuthorizationResourceTypeMismatch"),
        _AZURE_ROLE,
    ),
    "KeyBasedAuthenticationNotPermitted": (
        "access is refused ({code}): the storage account takes no keys: use an identity, by AZURE_CLIENT_ID and "
        "Azure's other variables"
    ),
    "AccountIsDisabled": "the storage account is disabled ({code}): enable it, or correct KPI_LAKE_URL",
    "InvalidResourceName": "Azure allows no container or object of that name: correct KPI_LAKE_URL",
    "BlobArchived": "the object is archived ({code}): rehydrate it, and keep its access tier from then on",
    "ServerBusy": REASON["503"],
    "OperationTimedOut": REASON["408"],
    "500": REASON["500"].replace("(that of the embedded store lies below KPI_HOME)", "").rstrip(),
}
_OTHER_REGION = {"301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"}


@contextmanager
def explained(place: Place, key: str) -> Iterator[None]:
    """Turn exceptions of obstore into a LakeError that names the object and the remedy."""
    where = object_url(place.bucket, key)
    try:
        yield
    except LakeError:
        raise
    except (BaseError, OSError) as error:
        text = str(error)
        status = _first(_STATUS, text)
        is_conflict = _first(_CODE, text) == "ConditionalRequestConflict"
        transient = place.scheme != "file" and (status is None or status[0] == "5" or is_conflict)
        raise LakeError(f"{where} cannot be used: {_reason(place, text)}.", transient=transient) from None
    except ValueError:  # of a key that is no path
        raise LakeError(
            f"{where} cannot be used: the parts of a key between its slashes may not be empty, nor . or ..: rename it."
        ) from None


def is_missing_container(error: Exception) -> bool:
    """Whether an error says that the bucket or the container itself is missing, and not only an object of it."""
    return _first(_CODE, str(error)) in _MISSING_CONTAINER


def is_taken(error: Exception) -> bool:
    """Whether an error says that an object is there already; Azure uses the same status for other refusals, too."""
    text = str(error)
    code, status = _first(_CODE, text), _first(_STATUS, text)
    return code in _TAKEN if code else status in {None, "412"}


def status_of(error: Exception) -> str | None:
    """Return the status with which a store refused a request, or None if it did not answer."""
    return _first(_STATUS, str(error))


def _reason(place: Place, text: str) -> str:
    """Return the cause of an error of obstore, given its text, and what to do."""
    if place.scheme == "file":
        return _of_folder(place, text)
    if "token request" in text or "169.254.169.254" in text:
        return _no_credentials(place)
    if status := _first(_STATUS, text):
        return _refused(place, status, _first(_CODE, text))
    return _not_reached(place, text)


def _refused(place: Place, status: str, code: str | None) -> str:
    found = code or status
    if place.scheme == "s3":
        if found in _OTHER_REGION:
            return _elsewhere(found)
        if found == "404":
            return f"{NO_S3} (it answered {found})"
        return REASON.get(found, UNKNOWN).format(code=found, skew="")
    reason = _AZURE.get(found) or _AZURE.get(status) or REASON.get(status) or "Azure answered {code}: look it up"
    return _of_azure(reason).format(code=found, skew="")


def _of_azure(reason: str) -> str:
    """Return a reason that names the settings of S3 with those of Azure."""
    return reason.replace("KPI_S3_ENDPOINT_URL", "KPI_AZURE_ENDPOINT_URL").replace(" S3", " Azure's Blob Storage")


def _elsewhere(code: str) -> str:
    return (
        f"the bucket lies elsewhere: set AWS_REGION to its region, or correct KPI_S3_ENDPOINT_URL (S3 answered {code})"
    )


def _not_reached(place: Place, text: str) -> str:
    """Return why there was no response of a store; a library in Rust says it as the names of its types."""
    host, setting = _first(_HOST, text) or "the store", _setting(place)
    if "without LOCATION" in text:
        if place.scheme == "s3":
            return _elsewhere("a redirect")
        return f"whoever answers there redirects: correct {setting}"
    for signs, reason in _KINDS:
        if any(sign in text for sign in signs):
            return reason.format(host=host, setting=setting, check=_check(place))
    if any(sign in text for sign in ("missing from response", "Got invalid", "Parse(", "non-partial response")):
        return _of_azure(NO_S3) if place.scheme == "az" else NO_S3
    return f"the request failed, and obstore does not say why in words that are known here; {_check(place)}"


_KINDS = (
    (
        ("dns error",),
        "the name {host} is known to no name server that this machine asks: correct {setting}, or mend the machine's "
        "DNS",
    ),
    (("ConnectionRefused",), "nobody listens at {host}: start the store, or correct {setting}"),
    (("NetworkUnreachable", "HostUnreachable"), "there is no way to {host}: look at the network, or correct {setting}"),
    (
        ("InvalidCertificate", "UnknownIssuer", "NotValidForName"),
        "its certificate cannot be trusted: correct the host in {setting}, or name the file with the authority's "
        "certificate in AWS_CA_BUNDLE or SSL_CERT_FILE",
    ),
    (("InvalidContentType", "InvalidMessage"), "whoever answers there speaks no TLS: write http instead of https"),
    (
        ("TimedOut", "Timeout"),
        "{host} does not answer in time, or more slowly than KPI_S3_LEAST_RATE: look whether the store hangs, or "
        "correct {setting}",
    ),
    (
        ("Interrupted", "IncompleteMessage", "IncompleteBody", "ConnectionReset", "BrokenPipe", "body error"),
        "the connection to {host} breaks off: look at the store and at what stands between it and here; else {check}",
    ),
    (("InvalidAccessKey", "Invalid Access Key"), "the key in AZURE_STORAGE_ACCOUNT_KEY is not base64: correct it"),
    (
        ("invalid path",),
        "a key there has an empty part, or . or .. between its slashes, and cannot be listed: rename that object",
    ),
)


def _setting(place: Place) -> str:
    return "KPI_S3_ENDPOINT_URL or AWS_REGION" if place.scheme == "s3" else "KPI_LAKE_URL or KPI_AZURE_ENDPOINT_URL"


def _check(place: Place) -> str:
    return CHECK if place.scheme == "s3" else "check KPI_LAKE_URL and Azure's variables"


def _no_credentials(place: Place) -> str:
    if place.scheme == "s3":
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile or a role "
            "by AWS's other variables"
        )
    return (
        "no credentials were found: set AZURE_STORAGE_ACCOUNT_KEY, or name an identity by AZURE_CLIENT_ID and Azure's "
        "other variables, or give this machine an identity"
    )


def _of_folder(place: Place, text: str) -> str:
    if "StorageFull" in text or "No space left" in text:
        return "the disk is full: make room there"
    if "PermissionDenied" in text or "Permission denied" in text:
        return "this user may not do this: allow it in the folder's permissions"
    return f"the folder {place.name} or a folder in it cannot be read or written: look at it, or correct KPI_LAKE_URL"


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None
