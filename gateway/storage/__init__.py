"""What the gateway keeps on disk: hellos, topic filters, dead letters without a subscriber."""

from gateway.storage.damaged_files import set_aside
from gateway.storage.state_store import StateStore
