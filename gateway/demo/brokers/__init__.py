"""Brokers for the demo and the tests: found, started, stopped."""
