"""What the manager keeps: the database, in one of two engines, and the model files. Decides nothing about a rollout."""

from gateway.manager.place import Place
from gateway.manager.store import control_tables  # METADATA has all tables from here on
from gateway.manager.store.audit import Auditor, ResourceState, local_address, local_auditor
from gateway.manager.store.history import Turn, TurnLost
from gateway.manager.store.history_compaction import Compaction
from gateway.manager.store.history_reads import (
    MetricFilter,
    device_metrics,
    device_samples,
    device_series,
    fleet_series,
)
from gateway.manager.store.history_retention import HistoryLimits, Retention
from gateway.manager.store.labels import has_labels, read_labels
from gateway.manager.store.object_facts import ObjectFacts
from gateway.manager.store.object_store import (
    CHUNK,
    MODELS,
    ObjectEntry,
    ObjectStore,
    OpenObject,
    StoredFile,
    check_readable,
    is_bucket_name,
    object_key,
    require_bucket_name,
)
from gateway.manager.store.object_writer import ObjectWriter
from gateway.manager.store.packages import (
    Package,
    add_package,
    find_package,
    newest_packages,
    package_of,
    require_free_version,
    versions,
)
from gateway.manager.store.recording import (
    HeartbeatCall,
    LogEntry,
    PlanChange,
    ReportedResult,
    StoredDevice,
    plan_entry,
)
from gateway.manager.store.silence import sweep_silence
from gateway.manager.store.store import FILE, Store, open_store, restrict_files
from gateway.manager.store.transaction import DevicePlan, Transaction
from gateway.manager.store.uploads import EXPIRES, Part, Upload, Uploads, etag_of_parts
