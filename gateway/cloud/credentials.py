"""AWS credentials, found as boto3 finds them, and searched again as soon as they may have changed.

One source signs for both transports and for S3. Other services and programs are asked in a thread of its own: no caller
waits without a deadline. It must never be asked on the event loop.
"""

import os
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    Credentials,
    ProcessProvider,
    ReadOnlyCredentials,
    RefreshableCredentials,
    create_credential_resolver,
)
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from gateway.cloud import error_mapping
from gateway.errors import CloudError

SEARCH_INTERVAL = 1.0
"""Seconds between the starts of two searches, at least."""
SEARCH_TIMEOUT = 30.0
"""Seconds that a caller waits for the first credentials."""
RENEWAL_TIMEOUT = 1.0
"""Seconds that a caller waits for others; then it gets those from before, and the search goes on."""
PROCESS_TIMEOUT = 60.0
"""Seconds after which a credential_process is killed."""


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """The credentials of boto3: the method that found them, whether they expire, and whether boto3 renews them."""

    method: str
    temporary: bool
    renewed: bool


class CredentialSource(Credentials):
    """To botocore, credentials that are in `session` from the start. botocore asks for them when it signs.

    Searched again: after a rejection, after an error of their renewal, and when the shared files have changed. A
    botocore session keeps what it once read, so each search has a new one. `region` is that of the nested calls (STS).
    """

    def __init__(self, region: str | None, connect_timeout: float, read_timeout: float) -> None:
        super().__init__("", "", method="edge-gateway")
        self._region = region
        self._config = Config(
            connect_timeout=connect_timeout, read_timeout=read_timeout, retries={"total_max_attempts": 1}
        )
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="credentials")
        self._loading: Future[ReadOnlyCredentials] | None = None
        self._found: Credentials | None = None
        self._last: ReadOnlyCredentials | None = None
        self._error: Exception = NoCredentialsError()
        names = map(botocore.session.Session().get_config_variable, ("credentials_file", "config_file"))
        self.file_names = [os.path.expanduser(name) for name in names]
        """The two shared files of the AWS settings. They may be missing."""
        self._files: list[tuple[int, ...]] = []
        self._rejected = False
        self._searched = float("-inf")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.asked = ""
        """botocore's name of the provider that was asked last."""

    def __repr__(self) -> str:
        return f"<CredentialSource {'none yet' if self._found is None else self._found.method}>"

    def load_credentials(self) -> "CredentialSource":
        """As botocore's credential resolver: asks nobody."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Blocks for SEARCH_TIMEOUT at most. Raises what botocore raises."""
        with self._lock:
            if self._loading is None or self._loading.done():
                self._loading = self._thread.submit(self._load)
            loading = self._loading
        last = self._last
        try:
            return loading.result(SEARCH_TIMEOUT if last is None else RENEWAL_TIMEOUT)
        except TimeoutError:
            if last is not None:
                return last
            message = f"no answer in {SEARCH_TIMEOUT:g} s"
            raise CredentialRetrievalError(provider=self.asked, error_msg=message) from None

    def reject(self) -> None:
        """The service rejected a call, and the credentials may be the reason."""
        self._rejected = True

    def on_response(self, **event: Any) -> None:
        """botocore's event `response-received`, of any client."""
        response = event["parsed_response"]  # None: there is none
        if response and error_mapping.blames_credentials(error_mapping.from_response(response)):
            self.reject()

    def problem(self) -> CloudError | None:
        """Why there are none now; None: there are. Blocks as `get_frozen_credentials`."""
        try:
            self.get_frozen_credentials()
        except Exception as error:
            return error_mapping.error_from_exception(error)
        return None

    def info(self) -> CredentialInfo | CloudError | None:
        """What they are; None: there are none. Blocks as `get_frozen_credentials`."""
        error, found = self.problem(), self._found
        if error is not None:
            return None if error.reason == NoCredentialsError.__name__ else error
        assert found is not None
        # Credentials of the environment may have an expiry, but another process must renew them.
        renewed = isinstance(found, RefreshableCredentials) and found.method != "env"
        return CredentialInfo(found.method, self._last is not None and self._last.token is not None, renewed)

    def close(self) -> None:
        """End a program that is asked for credentials."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    # In the thread

    def _load(self) -> ReadOnlyCredentials:
        if time.monotonic() - self._searched >= SEARCH_INTERVAL:
            self._search_if_needed()
        if self._found is None:
            raise self._error
        try:
            self._last = self._found.get_frozen_credentials()
        except Exception:
            self._rejected = True
            raise
        return self._last

    def _search_if_needed(self) -> None:
        files = [_version(name) for name in self.file_names]
        if self._found is not None and not self._rejected and files == self._files:
            return
        self._searched, self._files, self._rejected = time.monotonic(), files, False
        try:
            found = self._search(botocore.session.Session())
        except Exception as error:
            self._error = error
        else:
            self._found = found or self._found
            self._error = NoCredentialsError()

    def _search(self, session: botocore.session.Session) -> Credentials | None:
        """As botocore's own resolver, and `asked` says who is asked."""
        session.set_default_client_config(self._config)
        profile = session.get_config_variable("profile") or "default"
        region = self._region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
        for provider in create_credential_resolver(session, region_name=region).providers:
            self.asked = str(provider.METHOD)
            if isinstance(provider, ProcessProvider):
                provider = ProcessProvider(profile, lambda: session.full_config, popen=self._start_process)
            found: Credentials | None = provider.load()
            if found is not None:
                return found
        return None

    def _start_process(self, *arguments: Any, **options: Any) -> "_BoundedProcess":
        process = _BoundedProcess(*arguments, **options)
        with self._lock:  # it runs already: `close` must see it, or be seen
            self._process = process
            if self._closed:
                process.kill()
        return process


class _BoundedProcess(subprocess.Popen[bytes]):
    """botocore waits for a program without a deadline."""

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        try:
            return super().communicate(input, PROCESS_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def _version(path: str) -> tuple[int, ...]:
    """Another one where the file was written or replaced; () where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
