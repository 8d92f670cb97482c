"""What the manager keeps on disk: the SQLite database and the model files. Decides nothing about a rollout."""

from gateway.manager.store.database import DEFAULT_DATA, FILE, Database, open_database
from gateway.manager.store.object_store import CHUNK, ObjectStore, OpenObject, StoredFile, check_readable
