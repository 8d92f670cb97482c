"""What operators see of a gateway: log, metrics, health and status pages. Changes nothing of what they report."""
