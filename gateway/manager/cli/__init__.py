"""The commands under edge-gateway manager. Keep nothing beside what the database keeps."""
