"""Settings from a TOML file and the environment, or every mistake at once."""

from gateway.config.broker_url import BrokerAddress
from gateway.config.loader import load, load_with_places
from gateway.config.settings import LogFormat, LogLevel, Settings

__all__ = ["BrokerAddress", "LogFormat", "LogLevel", "Settings", "load", "load_with_places"]
