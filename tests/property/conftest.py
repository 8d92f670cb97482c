"""How hypothesis runs here: no deadlines, since a loaded machine is no failure; what failed is printed to repeat."""

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
