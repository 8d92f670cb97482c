"""The identities of a site: its certificate authority, the broker's users, and one file for each board.

Whoever holds the files that are made here can act as a device, the gateway or the broker: no secret may be in a log or
where all may read it. The commands are in cli.py.
"""
