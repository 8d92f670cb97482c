"""URLs without credentials, for logs."""

import pytest

from gateway.connections import redact_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:S3CRET@edge.example:9470/x?y=1", "http://edge.example:9470/x?y=1"),
        ("https://a@b@[::1]:9470", "https://[::1]:9470"),
        ("http://127.0.0.1:9470", "http://127.0.0.1:9470"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert redact_credentials(url) == shown
