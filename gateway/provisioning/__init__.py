"""Credentials of a site: its certificate authority, the broker's users, and one file for each board.

Whoever reads the secret files can act as a device, the gateway or the broker. A secret must never be in a log or in a
file that every account may read. This file imports nothing: `edge-gateway --help` must stay quick.
"""
