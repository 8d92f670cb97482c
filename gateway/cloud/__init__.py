"""Calls to the Edge Manager: transports, signatures, errors, availability. It must never keep a message."""
