"""Which addresses are of this machine alone. No I/O."""

import ipaddress


def is_loopback(host: str) -> bool:
    """`host`: an address, or a name; of names only localhost is."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
