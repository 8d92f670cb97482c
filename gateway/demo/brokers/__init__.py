"""Brokers for the demo and the tests: to find, start and stop them."""
