"""Reading a district's API: politely, read-only, and never a half-read answer taken for a whole
one.

This module owns the way to the network: the token, the waiting, the limits. It refuses addresses
that are not encrypted (but for this machine itself), redirects, and answers that are cut short, too
large or too slow. No error of it holds anything that the source answered: an answer can hold a
child's record.
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

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOKEN_MARGIN = 30.0
_QUESTION = re.compile(r"/ws/schema/query/[a-z0-9_]+(\.[a-z0-9_]+)*(/count)?")
"""PowerQueries, which only read: a plugin's queries are select statements."""
Params = Mapping[str, str | int]


class SourceUnavailable(SourceRefused):
    """The source did not give a whole answer in the time that we wait. What was fetched is kept for
    the next try.
    """


class RequestRefused(SourceRefused):
    """The source answered that it will not give this, and asking again would not help."""

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
    """How long a source is waited for. Seconds, but for `tries` and `most_bytes`."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 300.0
    whole_answer: float = 180.0
    between_bytes: float = 60.0
    most_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Response:
    """One whole answer: what its JSON says, and its headers."""

    data: Any
    headers: httpx2.Headers

    @property
    def clock(self) -> datetime:
        """What time it is at the source; here, where it does not say."""
        try:
            told = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return datetime.now(UTC)
        return told.replace(tzinfo=told.tzinfo or UTC)


class _TryAgain(Exception):
    """Something that may pass. `wait` is what the source asked for, in seconds; None leaves it to
    us.
    """

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


class RestClient:
    """Reads from one API. Use it as a context manager; it is not shared between threads."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        patience: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the way to an API.

        Raises:
            SourceRefused: an address is in clear and not on this machine.
        """
        for address in (base_url, credentials.token_url):
            require_https(address)
        self._base = base_url.rstrip("/")
        self._credentials = credentials
        self._patience = patience or RetryPolicy()
        self._sleep = sleep
        self._token = ""
        self._token_ends = 0.0
        self._http = httpx2.Client(
            verify=_authorities(),
            follow_redirects=False,
            headers={"accept": "application/json"},
            timeout=httpx2.Timeout(self._patience.between_bytes, connect=20.0),
        )

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(
        self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One whole JSON answer.

        Raises:
            SourceUnavailable: it could not be had in all tries.
            RequestRefused: the source will not give it however often it is asked.
        """
        return self._whole("GET", path, params, None, headers)

    def query(
        self, path: str, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> Response:
        """One whole JSON answer of an API that takes its questions by POST. Raises as `get` does.

        Raises:
            ValueError: the path is not that of a question: nothing else is ever posted.
        """
        if not _QUESTION.fullmatch(path):
            raise ValueError(f"{path} is not the path of a PowerQuery")
        return self._whole("POST", path, params, body or {}, None)

    def _whole(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Response:
        wait, tries = self._patience.first_wait, 0
        while True:
            try:
                fresh = self._renew_token()
                asked = dict(headers or {}) | {"authorization": f"Bearer {self._token}"}
                return self._once(method, path, params, body, asked)
            except _Unauthorized:
                self._token = ""
                if fresh:
                    raise RequestRefused(
                        f"{path}: the source refuses a token that it has just given (401)", 401
                    ) from None
            except _TryAgain as again:
                tries += 1
                if tries == self._patience.tries:
                    self._give_up(f"{path}: {again.why}, in {tries} tries")
                if (again.wait or 0) > self._patience.longest_wait:
                    self._give_up(
                        f"{path}: {again.why} and asks to be left alone for {again.wait:,.0f}"
                        " seconds"
                    )
                self._sleep(
                    again.wait if again.wait is not None else wait * random.uniform(0.5, 1.0)
                )
                wait = min(wait * 2, self._patience.longest_wait)

    def _give_up(self, why: str) -> NoReturn:
        raise SourceUnavailable(
            f"{why}. What was fetched is kept: run the same command again to go on"
        ) from None

    def _once(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> Response:
        asking = self._http.stream(
            method, self._base + path, params=dict(params or {}), json=body, headers=headers
        )
        with _network_faults(), asking as response:
            self._check_status(path, response)
            return Response(_json(self._read(path, response)), response.headers)

    def _check_status(self, path: str, response: httpx2.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status == 401:
            raise _Unauthorized
        if status in _TRY_AGAIN:
            raise _TryAgain(f"the source answered {status}", _retry_after(response.headers))
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

    def _read(self, path: str, response: httpx2.Response) -> bytes:
        """The whole body, or nothing: bounded in size and in time, so that a slow drip cannot hold
        a load.
        """
        ends = time.monotonic() + self._patience.whole_answer
        read = bytearray()
        for part in response.iter_bytes():
            read += part
            if len(read) > self._patience.most_bytes:
                raise SourceRefused(
                    f"{path}: an answer is larger than {self._patience.most_bytes:,} bytes; ask for"
                    " smaller pages"
                )
            if time.monotonic() > ends:
                raise _TryAgain(
                    f"an answer was not whole after {self._patience.whole_answer:g} seconds"
                )
        return bytes(read)

    def _renew_token(self) -> bool:
        """Have a token that counts for a while yet; whether it is a new one."""
        if self._token and time.monotonic() < self._token_ends:
            return False
        self._token, lasts = self._new_token()
        self._token_ends = time.monotonic() + max(lasts - _TOKEN_MARGIN, lasts / 2)
        return True

    def _new_token(self) -> tuple[str, float]:
        url = self._credentials.token_url
        asked = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            asked["scope"] = self._credentials.scope
        secret = (self._credentials.client_id, self._credentials.client_secret)
        with _network_faults(), self._http.stream("POST", url, data=asked, auth=secret) as response:
            status = response.status_code
            if status in _TRY_AGAIN:
                raise _TryAgain(f"no token could be had ({status})", _retry_after(response.headers))
            if status != 200:
                raise RequestRefused(
                    f"{url} gives no token ({status}): check the client's name and secret", status
                )
            found = _json(self._read(url, response))
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise SourceRefused(f"{url} answered without a token")
        return found["access_token"], _seconds(found.get("expires_in"))


class _Unauthorized(Exception):
    """The token does not count, or no longer."""


def require_https(address: str) -> None:
    """Refuse an address over which records or a secret would go in clear.

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
def _network_faults() -> Iterator[None]:
    """What the network or a broken encoding does to one request may pass: it is tried again."""
    try:
        yield
    except httpx2.TimeoutException:
        raise _TryAgain("the source stopped answering") from None
    except httpx2.RequestError as error:
        raise _TryAgain(f"the connection broke ({type(error).__name__})") from None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _TryAgain("an answer was cut short or is not JSON") from None


def _seconds(asked: Any) -> float:
    """How long a token lasts; five minutes where the source does not say (RFC 6749, 5.1 only
    recommends it).
    """
    try:
        return min(max(float(asked), 0.0), 86_400.0)
    except (TypeError, ValueError):
        return 300.0


@cache
def _authorities() -> ssl.SSLContext:
    """The certificate authorities that are trusted, read once a process."""
    return httpx2.create_ssl_context()


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the source asks us to wait (RFC 9110, 10.2.3: seconds or a date)."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
