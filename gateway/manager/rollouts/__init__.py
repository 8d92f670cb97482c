"""Rollouts: what happens next, and who does it. Knows nothing of HTTP."""
