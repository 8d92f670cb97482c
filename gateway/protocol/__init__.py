"""Messages of devices and gateway, their topics and bytes, and calls to the Edge Manager. Performs no I/O."""

from gateway.protocol.decoder import (
    DECODERS,
    decode_get,
    decode_heartbeat,
    decode_hello,
    decode_live,
    decode_read,
    peek_seq,
)
from gateway.protocol.encoder import encode_ack, encode_block, encode_plan, model_files
from gateway.protocol.forms import FORMS, name_elements, pack_elements
from gateway.protocol.location import find_byte
from gateway.protocol.messages import (
    LATEST,
    LIVENESS,
    MAX_BLOCK_BYTES,
    MAX_BLOCKS,
    NO_URLS,
    Ack,
    Device,
    DeviceMessage,
    Get,
    Heartbeat,
    Hello,
    HelloRecord,
    Instant,
    Layout,
    Metric,
    Model,
    ModelFile,
    ModelResult,
    Number,
    Plan,
    Read,
    Result,
    Samples,
)
from gateway.protocol.service_calls import (
    Abandoned,
    Accepted,
    Call,
    CallFailure,
    Cancelled,
    DatedResult,
    DatedSample,
    Definition,
    Deployment,
    DeviceVersion,
    GetDeployments,
    GetDeviceRegistration,
    ModelReport,
    Outcome,
    Registration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from gateway.protocol.topics import Channel, Topics, topic_for_same_device
