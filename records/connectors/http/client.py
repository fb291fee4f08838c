"""Reading a district's API: politely, read-only, and never a partial response taken as complete.

This module owns the way to the network: the token, the waiting, the limits. It refuses addresses
that are not encrypted (except on this machine itself), redirects, and responses that are cut short,
too large or too slow. None of its errors contains what the source answered: that may be a child's
record.
"""

from __future__ import annotations

import ipaddress
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2

from records.connectors.protocol import SourceRefused

_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOKEN_MARGIN = 30.0
_POWER_QUERY_PATH = re.compile(r"/ws/schema/query/[a-z0-9_]+(\.[a-z0-9_]+)*(/count)?")
"""PowerQueries, which only read: a plugin's queries are select statements."""
Params = Mapping[str, str | int]


class SourceUnavailable(SourceRefused):
    """The source gave no complete response within the retry policy; what was fetched is kept."""


class RequestRefused(SourceRefused):
    """The source refused a request for good; `status` is its HTTP status."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    """OAuth 2 client credentials (RFC 6749, 4.4)."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """How long a source is waited for: seconds, except `max_attempts` and `max_response_bytes`."""

    max_attempts: int = 6
    initial_backoff: float = 1.0
    max_backoff: float = 300.0
    response_timeout: float = 180.0
    read_timeout: float = 60.0
    max_response_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Response:
    """One complete response: its parsed JSON and its headers."""

    data: Any
    headers: httpx2.Headers

    @property
    def server_time(self) -> datetime:
        """The time at the source, or this machine's where the source does not state it."""
        try:
            moment = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return datetime.now(UTC)
        return moment.replace(tzinfo=moment.tzinfo or UTC)


class _RetryableError(Exception):
    """A failure that may pass; `wait` is the source's own request in seconds, or None."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class RestClient:
    """Reads from one API, as a context manager. It is not shared between threads."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        retry_policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open a client for the API at `base_url`.

        Raises:
            SourceRefused: an address is in clear and not on this machine.
        """
        for address in (base_url, credentials.token_url):
            require_https(address)
        self._base = base_url.rstrip("/")
        self._credentials = credentials
        self._retry_policy = retry_policy or RetryPolicy()
        self._sleep = sleep
        self._token = ""
        self._token_expires_at = 0.0
        self._http = httpx2.Client(
            verify=_ssl_context(),
            follow_redirects=False,
            headers={"accept": "application/json"},
            timeout=httpx2.Timeout(self._retry_policy.read_timeout, connect=20.0),
        )

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(
        self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One complete JSON response.

        Raises:
            SourceUnavailable: no complete response in `max_attempts`.
            RequestRefused: the source refuses, and a retry would not help.
        """
        return self._request_with_retries("GET", path, params, None, headers)

    def post_query(
        self, path: str, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> Response:
        """One complete JSON response of a PowerQuery, sent by POST. Raises as `get` does.

        Raises:
            ValueError: the path is not that of a PowerQuery: nothing else is ever posted.
        """
        if not _POWER_QUERY_PATH.fullmatch(path):
            raise ValueError(f"{path} is not the path of a PowerQuery")
        return self._request_with_retries("POST", path, params, body or {}, None)

    def _request_with_retries(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Response:
        backoff, attempts = self._retry_policy.initial_backoff, 0
        while True:
            try:
                is_new_token = self._renew_token()
                authorized_headers = dict(headers or {}) | {
                    "authorization": f"Bearer {self._token}"
                }
                return self._request_once(method, path, params, body, authorized_headers)
            except _Unauthorized:
                self._token = ""
                if is_new_token:
                    raise RequestRefused(
                        f"{path}: the source rejected a token it just issued (401)", 401
                    ) from None
            except _RetryableError as error:
                attempts += 1
                if attempts == self._retry_policy.max_attempts:
                    self._give_up(f"{path}: {error.reason}, in {attempts} tries")
                if (error.wait or 0) > self._retry_policy.max_backoff:
                    self._give_up(
                        f"{path}: {error.reason} and asked for a wait of {error.wait:,.0f} seconds"
                    )
                self._sleep(
                    error.wait if error.wait is not None else backoff * random.uniform(0.5, 1.0)
                )
                backoff = min(backoff * 2, self._retry_policy.max_backoff)

    def _give_up(self, reason: str) -> NoReturn:
        raise SourceUnavailable(
            f"{reason}. What was fetched is kept: run the same command again to continue"
        ) from None

    def _request_once(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> Response:
        request = self._http.stream(
            method, self._base + path, params=dict(params or {}), json=body, headers=headers
        )
        with _retry_network_errors(), request as response:
            self._check_status(path, response)
            return Response(_parse_json(self._read_body(path, response)), response.headers)

    def _check_status(self, path: str, response: httpx2.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status == 401:
            raise _Unauthorized
        if status in _RETRYABLE_STATUSES:
            raise _RetryableError(f"the source answered {status}", _retry_after(response.headers))
        if response.is_redirect:
            raise RequestRefused(
                f"{path}: the source answered with a redirect ({status}), which is not followed: "
                "the token would go to another address",
                status,
            )
        raise RequestRefused(
            f"{path}: the source answered {status}: check its address and what these credentials"
            " may read",
            status,
        )

    def _read_body(self, path: str, response: httpx2.Response) -> bytes:
        """The complete body, or an error: limited in size and in time against slow sources."""
        deadline = time.monotonic() + self._retry_policy.response_timeout
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._retry_policy.max_response_bytes:
                raise SourceRefused(
                    f"{path}: an answer is larger than"
                    f" {self._retry_policy.max_response_bytes:,} bytes; ask for smaller pages"
                )
            if time.monotonic() > deadline:
                raise _RetryableError(
                    f"an answer was not whole after {self._retry_policy.response_timeout:g} seconds"
                )
        return bytes(body)

    def _renew_token(self) -> bool:
        """Hold a token that is valid for a while yet; True if it is a new one."""
        if self._token and time.monotonic() < self._token_expires_at:
            return False
        self._token, lifetime = self._new_token()
        self._token_expires_at = time.monotonic() + max(lifetime - _TOKEN_MARGIN, lifetime / 2)
        return True

    def _new_token(self) -> tuple[str, float]:
        url = self._credentials.token_url
        form = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            form["scope"] = self._credentials.scope
        secret = (self._credentials.client_id, self._credentials.client_secret)
        with (
            _retry_network_errors(),
            self._http.stream("POST", url, data=form, auth=secret) as response,
        ):
            status = response.status_code
            if status in _RETRYABLE_STATUSES:
                raise _RetryableError(
                    f"no token could be had ({status})", _retry_after(response.headers)
                )
            if status != 200:
                raise RequestRefused(
                    f"{url} gives no token ({status}): check the client's name and secret", status
                )
            token = _parse_json(self._read_body(url, response))
        if not isinstance(token, dict) or not isinstance(token.get("access_token"), str):
            raise SourceRefused(f"{url} answered without a token")
        return token["access_token"], _token_lifetime(token.get("expires_in"))


class _Unauthorized(Exception):
    """The token is not valid, or no longer."""


def require_https(address: str) -> None:
    """Refuse an address over which records or a secret would travel unencrypted.

    Raises:
        SourceRefused: saying what would be right.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" or (
        parts.scheme == "http" and _is_this_machine(parts.hostname or "")
    ):
        return
    raise SourceRefused(f"{address} is not an encrypted address: it must begin with https://")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _retry_network_errors() -> Iterator[None]:
    """Turn a failure of the network or of an encoding into one that is retried."""
    try:
        yield
    except httpx2.TimeoutException:
        raise _RetryableError("the source stopped answering") from None
    except httpx2.RequestError as error:
        raise _RetryableError(f"the connection broke ({type(error).__name__})") from None


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _RetryableError("an answer was cut short or is not JSON") from None


def _token_lifetime(expires_in: Any) -> float:
    """Seconds that a token lasts; 300 where the source does not say (RFC 6749, 5.1)."""
    try:
        return min(max(float(expires_in), 0.0), 86_400.0)
    except (TypeError, ValueError):
        return 300.0


@cache
def _ssl_context() -> ssl.SSLContext:
    """The trusted certificate authorities, read once per process."""
    return httpx2.create_ssl_context()


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the source asks us to wait (RFC 9110, 10.2.3: seconds or a date)."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
