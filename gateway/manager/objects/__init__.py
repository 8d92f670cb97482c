"""Model files: where they lie, and which part of one is asked for. Knows nothing of devices."""
