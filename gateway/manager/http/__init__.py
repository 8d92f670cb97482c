"""HTTP of the Edge Manager: requests, signatures, responses. Decides nothing about devices.

async with start_server(ServerConfig(Place(Path("data")))) as url:
    boto3.client("sagemaker-edge", endpoint_url=url, ...)
"""

from gateway.manager.control.access import AccessKey
from gateway.manager.http.limits import Limits
from gateway.manager.http.listener import ManagerServer
from gateway.manager.http.server import LOG, Served, ServerConfig, make_handler, serving, start_server
