"""Checks of the cloud: the endpoint, its clock, the credentials, S3. Pure."""

from dataclasses import dataclass

from gateway.cloud import ACCESS_CODES, CredentialInfo
from gateway.doctor.checks.addresses import AddressResult, with_addresses
from gateway.doctor.result import CheckResult, ProbeFailure, failed, passed, unknown, warned
from gateway.errors import CloudError, FileError, OperatorError, PermanentError, TransientError

CLOCK_ALLOWED = 300
"""Seconds by which the date of a signature may be wrong at AWS."""
CLOCK_NOTED = 60
CREDENTIAL_CODES = frozenset(
    "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError".split()
)
"""Errors of botocore before anything is sent."""
ALLOW_CALLS = "allow the gateway's credentials GetDeviceRegistration, GetDeployments and SendHeartbeat"
ALLOW_READ = "correct the URL, or the permission to read it"
_TODO = {
    "set AWS_ACCESS_KEY_ID (or the profile) to a key that this service knows": (
        "UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId"
    ),
    "set AWS_SECRET_ACCESS_KEY to the secret of this access key; if `clock` fails, set the clock first": (
        "InvalidSignatureException SignatureDoesNotMatch IncompleteSignature"
    ),
    "renew the credentials, or use a profile or a role that boto3 renews": "ExpiredToken ExpiredTokenException",
    "set AWS_SESSION_TOKEN to the token of this access key, or remove it": "InvalidToken",
    "set this machine's clock (NTP): the signature's date is not accepted": "RequestExpired RequestTimeTooSkewed",
    "no signature arrives: does a proxy remove the header Authorization?": (
        "MissingAuthenticationToken MissingAuthenticationTokenException"
    ),
}
TODO = {code: todo for todo, codes in _TODO.items() for code in codes.split()}
"""What to do where credentials are not accepted, by the error's code. For all others: they are, and are not allowed."""
NO_OBJECT = frozenset("NoSuchBucket NoSuchKey".split())
SET_ENDPOINT = "set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API is"


@dataclass(frozen=True, slots=True)
class ServiceAnswers:
    """The endpoint's answer to each operation (None: accepted), for a device that does not exist.

    `registration`: its DeviceRegistration. `clock_ahead`: seconds by which our clock is ahead of the endpoint's.
    """

    url: str
    errors: dict[str, CloudError | None]
    registration: str | None
    clock_ahead: float | None
    addresses: tuple[AddressResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStoreAnswer:
    """S3's answer for an object. `object_url`: where an operator named it. `size` in bytes."""

    url: str
    object_url: str | None
    error: CloudError | FileError | None = None
    size: int | None = None
    addresses: tuple[AddressResult, ...] = ()


def check_service(answers: ServiceAnswers | ProbeFailure, registered_values: frozenset[str]) -> list[CheckResult]:
    """Whether the endpoint answers as the API does. `registered_values` in lower case."""
    if isinstance(answers, ProbeFailure):
        return [failed("endpoint", answers.detail, SET_ENDPOINT)]
    errors = {call: error for call, error in answers.errors.items() if error is not None}
    for error in errors.values():
        if _is_not_the_api(error):
            return [with_addresses(_wrong_endpoint(answers, error), answers.addresses)]
    if errors and all(error.reason in CREDENTIAL_CODES for error in errors.values()):
        return [unknown("endpoint", f"{answers.url} cannot be asked without credentials", "see credentials")]
    return [
        with_addresses(passed("endpoint", f"{answers.url} answers as the API"), answers.addresses),
        check_clock(answers.clock_ahead),
        _check_calls(answers, errors, registered_values),
    ]


def _is_not_the_api(error: CloudError) -> bool:
    if isinstance(error, PermanentError) or error.reason in CREDENTIAL_CODES | ACCESS_CODES:
        return False
    return isinstance(error, TransientError | OperatorError)


def _wrong_endpoint(answers: ServiceAnswers, error: CloudError) -> CheckResult:
    if answers.url.endswith(".amazonaws.com"):
        return failed("endpoint", f"{answers.url}: {error}", f"AWS closed Edge Manager in 2024: {SET_ENDPOINT}")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        todo = "set AWS_CA_BUNDLE to the certificate of its authority, or the URL to the name in its certificate"
        return failed("endpoint", f"{answers.url} has a certificate that is not trusted: {error}", todo)
    if isinstance(error, TransientError):
        return failed("endpoint", f"{answers.url} does not serve: {error}", f"start it, or {SET_ENDPOINT}")
    return failed("endpoint", f"what answers at {answers.url} is not the API: {error}", SET_ENDPOINT)


def _check_calls(answers: ServiceAnswers, errors: dict[str, CloudError], registered: frozenset[str]) -> CheckResult:
    """An error because the device does not exist is an answer too."""
    for call, error in errors.items():
        if error.reason in ACCESS_CODES:
            return failed("calls", f"{call}: {error}", TODO.get(error.reason, ALLOW_CALLS))
    if refused := errors.get("GetDeviceRegistration"):
        found = f"GetDeviceRegistration answers for a device that does not exist with an error: {refused}"
        return warned("calls", found, "ask_registration = false: the gateway would take such a device for an outage")
    if answers.registration is not None and answers.registration.casefold() in registered:
        found = f"a device that cannot exist is {answers.registration}: every device would count as registered"
        return warned("calls", found, "set registered_values to what this service answers for registered devices")
    return passed("calls", f"{', '.join(answers.errors)} are answered")


def check_clock(ahead: float | None) -> CheckResult:
    """Whether signatures and timestamps are right. `ahead`: seconds by which this machine's clock is ahead."""
    if ahead is None:
        return unknown("clock", "no answer of the endpoint has a Date", "keep this machine's clock by NTP")
    found = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the endpoint's"
    if abs(ahead) > CLOCK_ALLOWED:
        return failed("clock", found, "set it (NTP): signatures are rejected, and the time of every sample is wrong")
    if abs(ahead) > CLOCK_NOTED:
        todo = "set it (NTP): the times of samples are wrong, and beyond 300 s signatures are rejected"
        return warned("clock", found, todo)
    return passed("clock", "agrees with the endpoint's")


def check_credentials(found: CredentialInfo | CloudError | ProbeFailure | None) -> CheckResult:
    """Whether there are credentials, and whether something renews them."""
    todo = "set them by one of AWS's standard ways: environment, profile, role"
    match found:
        case None:
            return failed("credentials", "boto3 finds none", todo)
        case ProbeFailure(detail):
            return failed("credentials", detail, todo)
        case CloudError():
            return failed("credentials", str(found), todo)
        case CredentialInfo(method, temporary=True, renewed=False):
            return warned("credentials", f"temporary, by {method}: nothing renews them", "use a profile or a role")
        case CredentialInfo(method, temporary=True):
            return passed("credentials", f"temporary, by {method}, which renews them")
        case CredentialInfo(method):
            return passed("credentials", f"found, by {method}")


def check_model_store(answer: ModelStoreAnswer | ProbeFailure, cache_bytes: int) -> CheckResult:
    """Whether the gateway can read model files for devices that cannot reach S3."""
    if isinstance(answer, ProbeFailure):
        return warned("models (S3)", answer.detail, "set AWS_ENDPOINT_URL_S3 to where the model files are")
    return with_addresses(_check_object(answer, cache_bytes), answer.addresses)


def _check_object(answer: ModelStoreAnswer, cache_bytes: int) -> CheckResult:
    check = "models (S3)"
    if answer.object_url is None:
        if isinstance(answer.error, CloudError) and answer.error.reason in NO_OBJECT:
            return passed(check, f"{answer.url} answers; --model s3://BUCKET/KEY tries to read a file")
        code = answer.error.reason if isinstance(answer.error, CloudError) else ""
        todo = TODO.get(code, "set AWS_ENDPOINT_URL_S3 to where the model files are, and credentials that it accepts")
        return warned(check, f"{answer.url}: no device can read a model file now: {answer.error}", todo)
    if answer.error is not None:
        found = f"{answer.object_url} at {answer.url}: {answer.error}"
        code = answer.error.reason if isinstance(answer.error, CloudError) else ""
        return failed(check, found, TODO.get(code, ALLOW_READ))
    if answer.size is not None and answer.size > cache_bytes:
        found = f"{answer.object_url} has {answer.size:,} bytes, cache_bytes is {cache_bytes:,}"
        return failed(check, found, "raise cache_bytes")
    return passed(check, f"{answer.object_url} can be read")
