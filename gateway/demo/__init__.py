"""The demo, `make demo`, and the brokers that demo and tests start.

The gateway must never import it.
"""
