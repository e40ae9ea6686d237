"""Turns errors of boto3 into one sentence with the cause and the remedy.

Belongs here: the refusals of a store, or of a server in its place, and the failures of the network. Not here: the
requests (store.py, landing.py), and what a code means (refusals.py). Only codes of requests and responses are quoted,
since the rest may contain a secret.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from kpi_assets.sources.refusals import CHECK, NO_S3, REASON, UNKNOWN, LakeError

MOST_SKEW = 300  # seconds; with 900 between the clocks AWS refuses every request
_OTHER_REGION = {"301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"}


@contextmanager
def explained(bucket: str, key: str = "") -> Iterator[None]:
    """Turn exceptions of boto3 into a LakeError that names the object and the remedy."""
    place = f"s3://{bucket}/{key}"
    try:
        yield
    except boto.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise LakeError(f"{place} cannot be used: {_refused(error)}.", transient=status >= 500) from None
    except (boto.BotoCoreError, RecursionError, ResponseParserError) as error:
        transient = isinstance(error, (boto.ConnectionError, boto.HTTPClientError)) and not _is_recursion(error)
        raise LakeError(f"{place} cannot be used: {_not_reached(error)}.", transient=transient) from None


def unusable(error: Exception) -> LakeError:
    """Return the error for settings with which no client can be made."""
    if isinstance(error, boto.PartialCredentialsError):
        return LakeError(f"S3 cannot be used: {no_credentials(error)}.")
    known = isinstance(error, (boto.ProfileNotFound, boto.NoRegionError))
    detail = str(error).rstrip(".") if known else f"its address or its settings cannot be read: {type(error).__name__}"
    return LakeError(f"S3 cannot be used ({detail}): {CHECK}.")


def is_page(error: boto.ClientError) -> bool:
    """Whether the response is a web page, which does not come from a store."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return "html" in headers.get("content-type", "")


def _refused(error: boto.ClientError) -> str:
    """Return the cause of a store's refusal, and what to do."""
    details, answer = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code = re.sub(r"[^\w.-]", "", str(details.get("Code", "")))[:60]
    headers: Mapping[str, str] = answer.get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or details.get("Region")
    if code in _OTHER_REGION or (region and code == "400"):
        where = f"in the region {region}: set AWS_REGION to it" if region else "elsewhere: set AWS_REGION to its region"
        return f"the bucket lies {where}, or correct KPI_S3_ENDPOINT_URL (S3 answered {code})"
    if code in {"403", "400"} and (skew := _skew(headers)):
        code, shown = "RequestTimeTooSkewed", code
        return REASON[code].format(code=shown, skew=skew)
    if code == "404" or is_page(error):
        return f"{NO_S3} (it answered {code})"
    reason = REASON.get(code, UNKNOWN)
    return reason.format(code=code or answer.get("HTTPStatusCode"), skew=_skew(headers))


def _skew(headers: Mapping[str, str]) -> str:
    """Return by how much this machine's clock differs from the store's, or an empty text if it is little."""
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return ""
    if theirs.tzinfo is None:
        return ""
    apart = (datetime.now(timezone.utc) - theirs).total_seconds()
    return f", by {abs(apart):,.0f} s {'ahead' if apart > 0 else 'behind'}" if abs(apart) > MOST_SKEW else ""


def _is_recursion(error: Exception) -> bool:
    return isinstance(error, RecursionError) or isinstance(_inner(error), RecursionError)


def _inner(error: Exception) -> object:
    """Return the exception that boto3 wrapped."""
    return error.kwargs.get("error") if isinstance(error, boto.BotoCoreError) else None


def _not_reached(error: Exception) -> str:
    """Return why there was no response of a store."""
    if _is_recursion(error):
        # boto3 requests the bucket's region, is redirected again, and repeats this until the recursion limit.
        return (
            "whoever answers there redirects every request and does not say where to: correct KPI_S3_ENDPOINT_URL "
            "(https instead of http, for one) or AWS_REGION"
        )
    for kinds, explain in _KINDS:
        if isinstance(error, kinds):
            return explain(error)
    return f"{_text(error)}; {CHECK}"


def no_credentials(error: Exception) -> str:
    """Return why boto3 has no credentials, and what to do."""
    if isinstance(error, boto.PartialCredentialsError):
        return f"half of the credentials is missing: set {str(error.kwargs.get('cred_var')).upper()} too"
    if isinstance(error, boto.NoCredentialsError):
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile or a role "
            "by AWS's other variables"
        )
    return f"AWS gives no credentials ({type(error).__name__}): log in again, or correct AWS's variables"


def _certificate(error: Exception) -> str:
    said = _text(_inner(error))
    if "CERTIFICATE_VERIFY_FAILED" in said:
        detail = said.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "unknown"
        return (
            f"its certificate cannot be trusted ({detail}): correct the host in KPI_S3_ENDPOINT_URL, or name the file "
            "with the authority's certificate in AWS_CA_BUNDLE"
        )
    if "WRONG_VERSION_NUMBER" in said or "record layer failure" in said:
        return "whoever answers there speaks no TLS: write http instead of https into KPI_S3_ENDPOINT_URL"
    reason = re.search(r"\[SSL: (\w+)\]", said)
    return f"no TLS connection comes about ({reason[1] if reason else 'SSL'}): correct KPI_S3_ENDPOINT_URL"


def _no_host(error: Exception) -> str:
    host = _host(error)
    said = _text(_inner(error))
    if "resolve" in said or "getaddrinfo" in said or isinstance(_inner(error), socket.gaierror):
        return (
            f"the name {host} is known to no name server that this machine asks: correct KPI_S3_ENDPOINT_URL or "
            "AWS_REGION, or mend the machine's DNS"
        )
    if "refused" in said:
        return f"nobody listens at {host}: start the store, or correct KPI_S3_ENDPOINT_URL"
    return f"there is no way to {host}: look at the network, or correct KPI_S3_ENDPOINT_URL"


def _silent(error: Exception) -> str:
    return f"{_host(error)} does not answer in time: look whether the store hangs, or correct KPI_S3_ENDPOINT_URL"


def _broken_off(error: Exception) -> str:
    return (
        f"the connection to {_host(error)} breaks off: look at the store and at what stands between it and here; "
        f"else {CHECK}"
    )


_KINDS: tuple[tuple[tuple[type[Exception], ...], Callable[[Exception], str]], ...] = (
    (
        (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.SSOError,
            boto.LoginError,
        ),
        no_credentials,
    ),
    ((ResponseParserError,), lambda _: NO_S3),
    (
        (boto.ProxyConnectionError,),
        lambda _: (
            "the proxy that HTTPS_PROXY or HTTP_PROXY names cannot be used: correct it, or name the store in NO_PROXY"
        ),
    ),
    ((boto.SSLError,), _certificate),
    ((boto.EndpointConnectionError,), _no_host),
    ((boto.ConnectTimeoutError, boto.ReadTimeoutError), _silent),
    ((boto.ConnectionClosedError, boto.ResponseStreamingError, boto.IncompleteReadError), _broken_off),
)


def _host(error: Exception) -> str:
    """Return the host of the request, without the rest of its URL."""
    url = str(error.kwargs.get("endpoint_url", "")) if isinstance(error, boto.BotoCoreError) else ""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "the store"


def _text(error: object) -> str:
    """Return the message of an error, without URLs."""
    return re.sub(r"\w+://\S*", "...", " ".join(str(error).split())).rstrip(".")
