"""Connections to the broker: topics and bytes in and out, acknowledgements. Knows no message of the protocol."""
