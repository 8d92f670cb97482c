"""The control plane: Edge Manager's operations of `sagemaker`, on the port of the data plane."""

from gateway.manager.control.arns import ArnScope
from gateway.manager.control.calls import Caller, ControlCall
from gateway.manager.control.control_api import ControlApi
from gateway.manager.control.jobs import JobRunner
from gateway.manager.control.keys import KeyRing
from gateway.manager.control.other_s3 import OtherS3
from gateway.manager.control.starting import StageStarts
