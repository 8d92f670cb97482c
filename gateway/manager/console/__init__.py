"""The console: pages in a browser for the people of a site, rendered here, on a port of their own.

It must never be what a device waits for: its event loop and its threads are its own.
"""

from gateway.manager.console.config import ConsoleConfig
from gateway.manager.console.server import serving_console
