"""Calls to the Edge Manager: transports, signatures, errors, availability. It must never keep a message."""

from gateway.cloud.availability import Availability, CircuitBreaker
from gateway.cloud.boto_transport import (
    BotoTransport,
    check_endpoint,
    make_edge_client,
    make_session,
    on_response_date,
)
from gateway.cloud.client import EdgeManagerClient, Transport
from gateway.cloud.credentials import CredentialInfo, CredentialSource
from gateway.cloud.direct_transport import DirectTransport, direct_address, supports_direct_transport
from gateway.cloud.error_mapping import ACCESS_CODES, error_from_exception
from gateway.cloud.serializer import ApiResponse
