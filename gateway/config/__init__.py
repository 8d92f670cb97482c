"""Settings from a TOML file and the environment, or all mistakes at once."""

from gateway.config.broker_url import BrokerUrl
from gateway.config.loader import load, load_with_places
from gateway.config.settings import Settings
