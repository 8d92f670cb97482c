"""Judgements on the cloud: the endpoint, its clock, the credentials, S3. Pure."""

from gateway.cloud import error_mapping
from gateway.cloud.boto_transport import CredentialInfo
from gateway.doctor.facts import Fault, ModelStore, Service
from gateway.doctor.verdict import Verdict, failed, passed, unknown, warned
from gateway.errors import CloudError, OperatorError, PermanentError, TransientError

SKEW = 300
"""Seconds by which a signature's date may be wrong at AWS."""
SKEW_NOTED = 60
LOGIN_CODES = error_mapping.OPERATOR_CODES - {"UnknownOperationException", "InvalidAction"}
"""Answers of an API that knows what it was asked, and does not let us."""
HERE = frozenset("NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError".split())
"""Faults of botocore's before anything is sent."""
NO_OBJECT = frozenset("NoSuchBucket NoSuchKey".split())


def service(found: Service | Fault, registered_values: frozenset[str]) -> list[Verdict]:
    """What the endpoint's answers say. `registered_values` in lower case."""
    if isinstance(found, Fault):
        return [failed("endpoint", found.detail, "set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API answers")]
    failed_calls = {call: fault for call, fault in found.faults.items() if fault is not None}
    wrong = {call: fault for call, fault in failed_calls.items() if _is_elsewhere(fault)}
    if wrong:
        return [_wrong_endpoint(found, next(iter(wrong.values())))]
    if failed_calls and all(fault.reason in HERE for fault in failed_calls.values()):
        return [unknown("endpoint", f"without credentials {found.url} cannot be asked", "see credentials")]
    return [
        passed("endpoint", f"{found.url} answers as the API"),
        clock(found.ahead),
        _calls(found, failed_calls, registered_values),
    ]


def _is_elsewhere(fault: CloudError) -> bool:
    """Whether this is not an answer of the API."""
    if isinstance(fault, PermanentError) or fault.reason in HERE | LOGIN_CODES:
        return False
    return isinstance(fault, TransientError | OperatorError)


def _wrong_endpoint(found: Service, fault: CloudError) -> Verdict:
    if found.url.endswith(".amazonaws.com"):
        todo = "AWS closed Edge Manager in 2024: set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API lives"
        return failed("endpoint", f"{found.url}: {fault}", todo)
    if isinstance(fault, TransientError):
        return failed(
            "endpoint", f"{found.url} does not serve: {fault}", "start it, or set AWS_ENDPOINT_URL_SAGEMAKER_EDGE"
        )
    todo = "set AWS_ENDPOINT_URL_SAGEMAKER_EDGE to where the API answers"
    return failed("endpoint", f"what answers at {found.url} is not the API: {fault}", todo)


def _calls(found: Service, failed_calls: dict[str, CloudError], registered_values: frozenset[str]) -> Verdict:
    """A refusal for this device's sake is an answer too: it does not exist."""
    denied = {call: fault for call, fault in failed_calls.items() if fault.reason in LOGIN_CODES}
    for call, fault in denied.items():
        todo = "give the gateway's credentials leave for GetDeviceRegistration, GetDeployments and SendHeartbeat"
        return failed("calls", f"{call}: {fault}", todo)
    refused = failed_calls.get("GetDeviceRegistration")
    if refused is not None:
        told = f"GetDeviceRegistration refuses a device that does not exist, in place of an answer: {refused}"
        return warned("calls", told, "ask_registration = false: the gateway would take such a device for an outage")
    if found.word is not None and found.word.casefold() in registered_values:
        told = f"a device that cannot exist is {found.word}: every one would count as registered"
        return warned("calls", told, "set registered_values to the words that this service means by it")
    return passed("calls", f"{', '.join(found.faults)} are answered")


def clock(ahead: float | None) -> Verdict:
    """Whether signatures and timestamps are dated right. `ahead`: seconds by which this machine's clock is."""
    if ahead is None:
        return unknown("clock", "no answer of the endpoint has a Date", "keep this machine's clock by NTP")
    told = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the endpoint's"
    if abs(ahead) > SKEW:
        return failed("clock", told, "set it (NTP): signatures are refused, and every sample is dated wrong")
    if abs(ahead) > SKEW_NOTED:
        return warned("clock", told, "set it (NTP): samples are dated wrong, and beyond 300 s signatures are refused")
    return passed("clock", "agrees with the endpoint's")


def credentials(found: CredentialInfo | CloudError | Fault | None) -> Verdict:
    """Whether there are any, and whether they will be there tomorrow."""
    todo = "set them by one of AWS's standard ways: environment, profile, role"
    match found:
        case None:
            return failed("credentials", "boto3 finds none", todo)
        case Fault(detail):
            return failed("credentials", detail, todo)
        case CloudError():
            return failed("credentials", str(found), todo)
        case CredentialInfo(method, temporary=True, renewed=False):
            return warned("credentials", f"temporary, by {method}: nothing renews them", "use a profile or a role")
        case CredentialInfo(method, temporary=True):
            return passed("credentials", f"temporary, by {method}, which renews them")
        case CredentialInfo(method):
            return passed("credentials", f"found, by {method}")


def model_store(found: ModelStore | Fault, cache_bytes: int) -> Verdict:
    """Whether model files can be read for devices that have no way to S3."""
    check = "models (S3)"
    if isinstance(found, Fault):
        return warned(check, found.detail, "set AWS_ENDPOINT_URL_S3 to where the model files are")
    if found.asked is None:
        if isinstance(found.fault, CloudError) and found.fault.reason in NO_OBJECT:
            return passed(check, f"{found.url} answers; --model s3://BUCKET/KEY tries to read a file")
        todo = "set AWS_ENDPOINT_URL_S3 to where the model files are, and credentials that it takes"
        return warned(check, f"{found.url}: no device can read a model file now: {found.fault}", todo)
    if found.fault is not None:
        return failed(check, f"{found.asked} at {found.url}: {found.fault}", "mend the URL, or the right to read it")
    if found.size is not None and found.size > cache_bytes:
        return failed(
            check, f"{found.asked} has {found.size:,} bytes, cache_bytes is {cache_bytes:,}", "raise cache_bytes"
        )
    return passed(check, f"{found.asked} can be read")
