__version__: str
"""Version of the SDK."""
