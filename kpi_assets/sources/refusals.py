"""Why S3 refuses a request, and what to do, by the code of its answer.

Belongs here: what a code means, whoever asked. Not here: the errors of the libraries that ask (boto_refusals.py,
lake_refusals.py).
"""

from kpi_assets.errors import UserError

MISSING = {"404", "NoSuchKey", "NotFound"}
CHECK = "check KPI_S3_ENDPOINT_URL and AWS's variables"
NO_S3 = (
    "whoever answers there does not answer as S3 does, such as a web server or a proxy's page: correct "
    "KPI_S3_ENDPOINT_URL, and look at the proxy that HTTPS_PROXY or HTTP_PROXY names"
)
_NEW_CREDENTIALS = "get new credentials, all three of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
UNKNOWN = "S3 answered {code}, which is none of the refusals that are known here: look it up"
_REASONS = {
    ("NoSuchBucket",): "the bucket does not exist: create it, or correct KPI_S3_BUCKET",
    ("InvalidBucketName",): "the store allows no bucket of that name: correct KPI_S3_BUCKET",
    ("403",): (
        "access is refused ({code}), and the answer does not say why: check the credentials in AWS's variables, the "
        "bucket's policy, and the clock of this machine"
    ),
    ("AccessDenied", "AllAccessDisabled", "AccountProblem", "UnauthorizedAccess"): (
        "access is refused ({code}): the store knows the credentials in AWS's variables, and they may not do this: "
        "allow it in the policy of their user or of the bucket"
    ),
    ("InvalidAccessKeyId",): (
        "access is refused ({code}): the store does not know the access key: correct AWS_ACCESS_KEY_ID"
    ),
    ("SignatureDoesNotMatch",): (
        "access is refused ({code}): the secret is not that of the access key: correct AWS_SECRET_ACCESS_KEY; where it "
        "is right, a proxy in between changes the request"
    ),
    ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"): (
        f"access is refused ({{code}}): the credentials have expired: {_NEW_CREDENTIALS}"
    ),
    ("InvalidToken",): f"access is refused ({{code}}): the token is not that of the access key: {_NEW_CREDENTIALS}",
    ("RequestTimeTooSkewed",): "the clock of this machine is wrong{skew} ({code}): set it by NTP",
    ("BadDigest",): "its bytes changed on their way there, and the store did not take them: try again",
    ("ConditionalRequestConflict",): "somebody else writes the object at this moment ({code}): try again",
    ("InvalidObjectState",): "the object is archived ({code}): restore it, and keep its storage class from then on",
    ("503", "429", "SlowDown", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded", "Throttling"): (
        "the store takes no more requests for now ({code}), also when asked again several times: try again in some "
        "minutes, with fewer runs at once"
    ),
    ("408", "RequestTimeout", "504", "GatewayTimeout"): (
        "the store, or a proxy before it, waited too long ({code}): look at the network in between, and try again"
    ),
    ("502", "BadGateway"): "a proxy before the store does not reach it ({code}): start the store, or mend the proxy",
    ("407", "ProxyAuthenticationRequired"): (
        "the proxy asks for a login ({code}): write it into HTTPS_PROXY or HTTP_PROXY, or name the store in NO_PROXY"
    ),
    ("507", "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded"): (
        "the store has no room left ({code}): make room there, and try again"
    ),
    ("500", "InternalError"): (
        "the store failed at it and does not say why ({code}): look whether its disk is full, and into its log (that "
        "of the embedded store lies below KPI_HOME)"
    ),
    ("405", "MethodNotAllowed", "501", "NotImplemented"): (
        "whoever answers there does not know this request ({code}): KPI_S3_ENDPOINT_URL must name a store that speaks "
        "S3, and no page of it for people"
    ),
}
REASON = {code: reason for codes, reason in _REASONS.items() for code in codes}


class LakeError(UserError):
    """The store of the objects cannot be used, or an object is not what its manifest says."""


def foreign_endpoint() -> LakeError:
    """Return the error for an endpoint of AWS's own variables or files that might hold a secret."""
    return LakeError(
        "The endpoint that AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or AWS's configuration file names cannot be used: "
        "write http://host:port or https://host, without a user, a password or a query."
    )
