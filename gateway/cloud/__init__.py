"""Calls to the Edge Manager: transports, signatures, errors, and when a call is made again. Keeps no message."""
