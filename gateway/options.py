"""Options that commands of several packages have. It imports nothing of the gateway: `--help` loads it."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SITE = Path("/etc/edge-gateway")
SiteOption = Annotated[Path, typer.Option("--site", envvar="EDGE_SITE", help="The folder of the site's identities.")]
