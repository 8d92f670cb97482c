"""Between the core and the world: messages go in, effects are executed. Decides nothing about a message."""

from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.dispatcher import Dispatcher
from gateway.pipeline.inbound import InboundHandler
from gateway.pipeline.rate_limiter import DeviceRateLimiter
from gateway.pipeline.session_watch import SessionWatch
