"""The history of samples without I/O: how they are packed, compacted, downsampled, and which of them stay."""

from gateway.manager.history.aggregates import Aggregate, Point, aggregate, by_period, combined
from gateway.manager.history.buckets import (
    MAX_POINTS,
    Bucket,
    Series,
    device_buckets,
    fleet_buckets,
    page,
    series,
)
from gateway.manager.history.chunks import FULL, SPAN, Chunk, decode, encode, merge, new_points
from gateway.manager.history.compaction import (
    Batch,
    Compacted,
    HourKey,
    RecentRow,
    SpanKey,
    compact,
    gather,
    hour_totals,
)
from gateway.manager.history.retention import Kept, kept
from gateway.manager.history.samples import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    MetricSample,
    distinct_samples,
    pack_samples,
    sample_columns,
    split_samples,
    unpack_samples,
)
