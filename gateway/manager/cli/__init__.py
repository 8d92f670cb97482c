"""The commands `edge-gateway manager`. They must not load botocore before a command needs it."""

from gateway.manager.cli.main import app
