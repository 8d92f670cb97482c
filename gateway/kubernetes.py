"""Variables that Kubernetes sets in each container for each Service of its namespace (service links).

Those of a Service called `gateway` or `edge-manager` begin like the names of our settings: GATEWAY_PORT=tcp://10.0.0.7:80.
"""

import os
import re

# {SVCNAME}_SERVICE_HOST and _SERVICE_PORT, and the variables of Docker's container links.
_LINK = re.compile(
    r"\w+_(SERVICE_HOST=[0-9a-fA-F.:]+|SERVICE_PORT(_\w+)?=\d+|PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://\S+:\d+"
    r"|PORT_\d+_(TCP|UDP|SCTP)_(PROTO=(tcp|udp|sctp)|PORT=\d+|ADDR=[0-9a-fA-F.:]+))"
)

PASSED_OVER = "variables of Kubernetes service links are no settings and are ignored; set enableServiceLinks: false"


def drop_service_links(*prefixes: str) -> None:
    """Take service links whose names begin so out of the environment; a warning names them."""
    found = sorted(
        name for name, value in os.environ.items() if name.startswith(prefixes) and _LINK.fullmatch(f"{name}={value}")
    )
    if not found:
        return
    for name in found:
        del os.environ[name]
    import structlog

    from gateway.log import configure_log

    configure_log("warning")
    structlog.get_logger().warning(PASSED_OVER, variables=found)
