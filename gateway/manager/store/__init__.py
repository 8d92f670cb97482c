"""The database of the Edge Manager and its schema. Decides nothing about a rollout."""
