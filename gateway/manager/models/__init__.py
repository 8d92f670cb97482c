"""The service model of the operations that AWS's API has not, in the format of botocore, so that boto3 loads it.

`PATH` is a directory for AWS_DATA_PATH. It must never say what AWS's own models say.
"""

from functools import cache
from pathlib import Path

from botocore.loaders import Loader
from botocore.model import ServiceModel, StructureShape

from gateway.manager.models.spelling import from_members, to_members

PATH = Path(__file__).parent
SERVICE = "edge-manager"
"""What boto3 calls it."""


@cache
def load_own_model() -> ServiceModel:
    loader = Loader(extra_search_paths=[str(PATH)], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(SERVICE, "service-2"), SERVICE)


@cache
def output_shape(operation: str) -> StructureShape:
    shape = load_own_model().operation_model(operation).output_shape
    assert shape is not None
    return shape
