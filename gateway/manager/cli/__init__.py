"""The commands `edge-gateway manager`. They must load neither aiohttp nor botocore before a command needs it."""

from gateway.manager.cli.main import app
