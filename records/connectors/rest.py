"""Reading a district's API: politely, read-only, and never a half-read answer taken for a whole one.

This module owns the way to the network: the token, the waiting, the limits. It refuses addresses that are not
encrypted (but for this machine itself), redirects, and answers that are cut short, too large or too slow. No error
of it holds anything that the source answered: an answer can hold a child's record.
"""

from __future__ import annotations

import ipaddress
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from records.connectors.protocol import SourceRefused

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOKEN_MARGIN = 30.0
Params = Mapping[str, str | int]


class SourceUnavailable(SourceRefused):
    """The source did not give a whole answer in the time that we wait. What was fetched is kept for the next try."""


@dataclass(frozen=True)
class Credentials:
    """OAuth 2 client credentials (RFC 6749, 4.4)."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True)
class Patience:
    """How long a source is waited for. Seconds, but for `tries` and `most_bytes`."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 300.0
    whole_answer: float = 180.0
    between_bytes: float = 60.0
    most_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """One whole answer: what its JSON says, and its headers."""

    data: Any
    headers: httpx.Headers


class _TryAgain(Exception):
    """Something that may pass. `wait` is what the source asked for, in seconds; None leaves it to us."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


class RestClient:
    """Reads from one API. Use it as a context manager; it is not shared between threads."""

    def __init__(self, base_url: str, credentials: Credentials, patience: Patience | None = None, *,
                 sleep: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
        """Open the way to an API.

        Raises:
            SourceRefused: an address is in clear and not on this machine.
        """
        for address in (base_url, credentials.token_url):
            check_encrypted(address)
        self._base = base_url.rstrip("/")
        self._credentials = credentials
        self._patience = patience or Patience()
        self._sleep = sleep
        self._token = ""
        self._token_ends = 0.0
        self._http = httpx.Client(timeout=httpx.Timeout(self._patience.between_bytes, connect=20.0),
                                  follow_redirects=False, headers={"accept": "application/json"})  # fmt: skip

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One whole JSON answer.

        Raises:
            SourceUnavailable: it could not be had in all tries.
            SourceRefused: the source will not give it however often it is asked.
        """
        return self._whole("GET", path, params, None, headers)

    def query(self, path: str, params: Params | None = None, body: Mapping[str, Any] | None = None) -> Answer:
        """One whole JSON answer of an API that takes its questions by POST. Raises as `get` does."""
        return self._whole("POST", path, params, body or {}, None)

    def _whole(self, method: str, path: str, params: Params | None, body: Mapping[str, Any] | None,
               headers: Mapping[str, str] | None) -> Answer:  # fmt: skip
        fresh_token = False
        wait, why = self._patience.first_wait, ""
        for attempt in range(self._patience.tries):
            try:
                asked = dict(headers or {}) | {"authorization": f"Bearer {self._valid_token()}"}
                return self._once(method, self._base + path, path, params, body, asked)
            except _Unauthorized:
                self._token = ""
                if fresh_token:
                    raise SourceRefused(f"{path}: the source refuses a token that it has just given (401)") from None
                fresh_token = True
            except _TryAgain as again:
                why = again.why
                if attempt + 1 < self._patience.tries:
                    self._sleep(min(again.wait if again.wait is not None else wait * random.uniform(0.5, 1.0),
                                    self._patience.longest_wait))  # fmt: skip
                wait = min(wait * 2, self._patience.longest_wait)
        raise SourceUnavailable(f"{path}: {why}, in {self._patience.tries} tries. What was fetched is kept: "
                                "run the same command again to go on")  # fmt: skip

    def _once(self, method: str, url: str, path: str, params: Params | None, body: Mapping[str, Any] | None,
              headers: Mapping[str, str]) -> Answer:  # fmt: skip
        try:
            with self._http.stream(method, url, params=dict(params or {}), json=body, headers=headers) as response:
                self._check_status(path, response)
                return Answer(_json(self._read(path, response)), response.headers)
        except httpx.TimeoutException:
            raise _TryAgain("the source stopped answering") from None
        except httpx.TransportError as error:
            raise _TryAgain(f"the connection broke ({type(error).__name__})") from None

    def _check_status(self, path: str, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status == 401:
            raise _Unauthorized
        if status in _TRY_AGAIN:
            raise _TryAgain(f"the source answered {status}", _retry_after(response.headers))
        if response.is_redirect:
            raise SourceRefused(f"{path}: the source answered with a redirect ({status}), which is not followed: "
                                "the token would go to another address")  # fmt: skip
        raise SourceRefused(f"{path}: the source answered {status}: check its address and what these credentials may "
                            "read")  # fmt: skip

    def _read(self, path: str, response: httpx.Response) -> bytes:
        """The whole body, or nothing: bounded in size and in time, so that a slow drip cannot hold a load."""
        ends = time.monotonic() + self._patience.whole_answer
        read = bytearray()
        for part in response.iter_bytes():
            read += part
            if len(read) > self._patience.most_bytes:
                raise SourceRefused(f"{path}: an answer is larger than {self._patience.most_bytes:,} bytes; ask for "
                                    "smaller pages")  # fmt: skip
            if time.monotonic() > ends:
                raise _TryAgain(f"an answer was not whole after {self._patience.whole_answer:g} seconds")
        return bytes(read)

    def _valid_token(self) -> str:
        if not self._token or time.monotonic() > self._token_ends:
            self._token, lasts = self._new_token()
            self._token_ends = time.monotonic() + max(lasts - _TOKEN_MARGIN, lasts / 2)
        return self._token

    def _new_token(self) -> tuple[str, float]:
        asked = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            asked["scope"] = self._credentials.scope
        try:
            response = self._http.post(self._credentials.token_url, data=asked,
                                       auth=(self._credentials.client_id, self._credentials.client_secret))  # fmt: skip
        except httpx.TransportError as error:
            raise _TryAgain(f"no token could be had ({type(error).__name__})") from None
        if response.status_code in _TRY_AGAIN:
            raise _TryAgain(f"no token could be had ({response.status_code})", _retry_after(response.headers))
        if response.status_code != 200:
            raise SourceRefused(f"{self._credentials.token_url} gives no token ({response.status_code}): check the "
                                "client's name and secret")  # fmt: skip
        found = _json(response.content)
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise SourceRefused(f"{self._credentials.token_url} answered without a token")
        return found["access_token"], float(found.get("expires_in") or 300)


class _Unauthorized(Exception):
    """The token does not count, or no longer."""


def check_encrypted(address: str) -> None:
    """Refuse an address over which records or a secret would go in clear.

    Raises:
        SourceRefused: saying what would be right.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(parts.hostname or "")):
        return
    raise SourceRefused(f"{address} is not an encrypted address: it must begin with https://")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise _TryAgain("an answer was cut short or is not JSON") from None


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the source asks us to wait (RFC 9110, 10.2.3: seconds or a date)."""
    asked = headers.get("retry-after")
    if asked is None:
        return None
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
