"""What the gateway keeps on disk: hellos, topic filters, dead letters without a subscriber, the last connection."""

from gateway.storage.damaged_files import set_aside
from gateway.storage.session_file import SessionFile
from gateway.storage.state_store import StateStore
