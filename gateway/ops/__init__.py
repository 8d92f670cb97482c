"""What operators see of a gateway: log, metrics, health and status pages. It must never change what it reports."""
