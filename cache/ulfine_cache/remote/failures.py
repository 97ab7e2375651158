"""What a storage's errors mean: that something is not there, that it may pass, or that nobody gets through."""

import errno
from typing import Any, Literal

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import without_secrets

Kind = Literal["gone", "exists", "denied", "passing", "final"]

_CREDENTIALS = {
    "InvalidAccessKeyId": "the storage does not know the access key",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the credentials have expired",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "NoCredentialsError": "there are no credentials",
    "PartialCredentialsError": "a part of the credentials is missing",
    "ProfileNotFound": "there is no such profile",
    "TokenRetrievalError": "the credentials cannot be had",
    "CredentialRetrievalError": "the credentials cannot be had",
    "UnauthorizedSSOTokenError": "the credentials have expired",
}
_REMEDY = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and run the same command again"
_PASSING = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "InternalError",
    "OperationAborted",
    "ConditionalRequestConflict",
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
}
_PASSING_ERRORS = (
    "ConnectionError",  # botocore's own
    "HTTPClientError",
    "ClientError",  # aiohttp's; botocore's has a response and is judged by it
    "FSTimeoutError",
    "IncompleteReadError",
    "IncompleteRead",
    "ResponseParserError",
    "ChecksumMismatch",
    "FlexibleChecksumError",
    "ResponseStreamingError",
)
_PASSING_NUMBERS = (
    errno.EBUSY,
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
)
_WRONG_NAME = ("InvalidBucketName", "ParamValidationError")
_LONGEST = 160


class StorageError(UlfineError):
    """A storage could not be used; it says nothing about whether what lies there is sound."""


class CutOff(OSError):
    """Fewer bytes arrived than there are."""


def kind_of(error: BaseException) -> Kind:
    """Say what an error of a storage means for the request that it ended."""
    code, status = _code(error), _status(error)
    if isinstance(error, FileExistsError) or code == "PreconditionFailed" or status == 412:
        return "exists"
    if code in _CREDENTIALS or code in _WRONG_NAME or code == "NoSuchBucket" or _no_bucket(error):
        return "final"
    if code in _PASSING or status == 429 or (status >= 500 and status != 501):
        return "passing"
    if isinstance(error, FileNotFoundError) or status == 404:
        return "gone"
    if isinstance(error, PermissionError) or status == 403:
        return "denied"
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ConnectionError | TimeoutError | CutOff) or (not status and names & set(_PASSING_ERRORS)):
        return "passing"
    return "passing" if getattr(error, "errno", None) in _PASSING_NUMBERS else "final"


def refusal(url: str, error: BaseException) -> StorageError:
    """Return the error for a request that no repetition helps, in one line that names the URL and the remedy."""
    code = _code(error)
    if code in _CREDENTIALS:
        remedy = "set it right" if code == "RequestTimeTooSkewed" else _REMEDY
        return StorageError(f"cannot use {url}: {_CREDENTIALS[code]}; {remedy}")
    bucket = "/".join(url.split("/")[:3])
    if code == "NoSuchBucket" or _no_bucket(error):
        return StorageError(f"cannot use {url}: there is no bucket {bucket}; check its name, or make it first")
    if code in _WRONG_NAME:
        return StorageError(f"cannot use {url}: {bucket} is no name of a bucket; check the URL")
    kind = kind_of(error)
    if kind == "denied":
        return StorageError(
            f"cannot use {url}: permission denied; docs/object_storage.md names the rights that the credentials need"
        )
    if kind == "gone":
        return StorageError(f"nothing at {url}: check the URL")
    return StorageError(f"cannot use {url}: {words(error)}; run again with --debug to see more")


def words(error: BaseException) -> str:
    """Return an error as a short line without secrets."""
    code = _code(error)
    has_answer = any(isinstance(getattr(one, "response", None), dict) for one in (error, error.__cause__))
    said = code if has_answer and not code.isdecimal() else ""
    text = without_secrets(said or reason(error))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _no_bucket(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error)


def _code(error: BaseException) -> str:
    """The storage's word for the error, or the name of its class."""
    for one in (error, error.__cause__):
        response: Any = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def _status(error: BaseException) -> int:
    for one in (error, error.__cause__):
        response: Any = getattr(one, "response", None)
        if isinstance(response, dict):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    # As gcsfs has it.
    code = getattr(error, "code", None) if type(error).__name__ == "HttpError" else None
    return code if isinstance(code, int) else 0
