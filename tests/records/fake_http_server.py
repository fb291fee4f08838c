"""An HTTP server that gives tokens, records requests, and fails in the ways networks do."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from records.connectors.http.client import Credentials, RestClient, RetryPolicy

CLIENT, SECRET = "handrail", "the secret of the client 5d1f"
QUICK = RetryPolicy(
    max_attempts=4,
    initial_backoff=1.0,
    max_backoff=120.0,
    response_timeout=1.0,
    read_timeout=1.0,
    max_response_bytes=2_000_000,
)


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it arrived."""

    method: str
    path: str
    params: Mapping[str, str]
    token: str
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    data: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Fault = Callable[["Handler", Reply], None]
"""Answers a request in its own way, given what should have been answered."""


class FakeHttpServer:
    """A server to be started with `running`; subclasses say in `answer` what it holds.

    `faults` are used up one per request, None for a good answer; `token_faults` are those of the
    token endpoint. `token_counts_for` is how many requests a token is good for.
    """

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.faults: deque[Fault | None] = deque()
        self.token_faults: deque[Fault | None] = deque()
        self.tokens: dict[str, int] = {}
        self.token_counts_for = 1_000_000
        self.token_lasts: Any = 1800
        self.lock = threading.RLock()
        self.url = ""

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        return Reply([{"path": path, **params}])

    @contextmanager
    def running(self) -> Iterator[FakeHttpServer]:
        server = _Server(("127.0.0.1", 0), Handler)
        server.loopback = self
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def credentials(self, secret: str = SECRET) -> Credentials:
        return Credentials(f"{self.url}/oauth/token", CLIENT, secret)

    def client(
        self, patience: RetryPolicy = QUICK, sleep: Callable[[float], None] = lambda seconds: None
    ) -> RestClient:
        return RestClient(self.url, self.credentials(), patience, sleep=sleep)

    def token(self, authorization: str) -> Reply:
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if authorization != expected:
            return Reply({"error": "invalid_client"}, 401)
        token = secrets.token_urlsafe(12)
        self.tokens[token] = self.token_counts_for
        return Reply(
            {"access_token": token, "token_type": "bearer", "expires_in": self.token_lasts}
        )

    def spend(self, token: str) -> bool:
        left = self.tokens.get(token, 0)
        self.tokens[token] = left - 1
        return left > 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    loopback: FakeHttpServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or was killed is expected."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._reply()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

    def _reply(self) -> None:
        loopback, parts = self.server.loopback, urlsplit(self.path)
        params = dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        authorization = self.headers.get("authorization", "")
        token = authorization.removeprefix("Bearer ")
        none: deque[Fault | None] = deque()
        with loopback.lock:
            loopback.requests.append(RecordedRequest(self.command, parts.path, params, token, body))
            if parts.path == "/oauth/token":
                reply, faults = loopback.token(authorization), loopback.token_faults
            elif not loopback.spend(token):
                reply, faults = Reply({"message": "the token does not count"}, 401), none
            else:
                reply, faults = (
                    loopback.answer(self.command, parts.path, params, body),
                    loopback.faults,
                )
            fault = faults.popleft() if faults else None
        (fault or send)(self, reply)
        with suppress(OSError):
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def send(handler: Handler, reply: Reply) -> None:
    """What a healthy server does."""
    _send(handler, json.dumps(reply.data).encode(), reply.status, reply.headers)


def status(code: int, body: str = "{}", **headers: str) -> Fault:
    def fault(handler: Handler, reply: Reply) -> None:
        _send(
            handler,
            body.encode(),
            code,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )

    return fault


def not_json(handler: Handler, reply: Reply) -> None:
    _send(
        handler,
        b"<html>The page you asked for is being served by our partner</html>",
        200,
        reply.headers,
    )


def half(handler: Handler, reply: Reply) -> None:
    """A complete HTTP response with half of the JSON."""
    body = json.dumps(reply.data).encode()
    _send(handler, body[: len(body) // 2], 200, reply.headers)


def truncated(handler: Handler, reply: Reply) -> None:
    """Fewer bytes than the header promised, although what came is a complete JSON list."""
    _send(handler, b"[]", 200, dict(reply.headers) | {"content-length": "4000"})
    handler.close_connection = True


def reset(handler: Handler, reply: Reply) -> None:
    """Half of the answer, then the connection breaks."""
    body = json.dumps(reply.data).encode()
    _send(
        handler,
        body[: len(body) // 2],
        200,
        dict(reply.headers) | {"content-length": str(len(body))},
    )
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def hung_up(handler: Handler, reply: Reply) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def broken_encoding(handler: Handler, reply: Reply) -> None:
    body = gzip.compress(json.dumps(reply.data).encode())
    _send(handler, b"\x00" + body[1:], 200, dict(reply.headers) | {"content-encoding": "gzip"})


def drip(handler: Handler, reply: Reply) -> None:
    """One byte at a time, for as long as the client stays."""
    _send(handler, b"[", 200, {"content-length": "100000"})
    with suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            threading.Event().wait(0.02)
    handler.close_connection = True


def silence(handler: Handler, reply: Reply) -> None:
    """Accepts the request and says nothing for longer than the client waits."""
    threading.Event().wait(2.5)
    handler.close_connection = True


def huge(handler: Handler, reply: Reply) -> None:
    _send(handler, b"[" + b" " * 4_000_000 + b"]", 200, {})


def deep(handler: Handler, reply: Reply) -> None:
    _send(handler, b"[" * 200_000 + b"]" * 200_000, 200, {})


def _send(handler: Handler, body: bytes, code: int, headers: Mapping[str, str]) -> None:
    handler.send_response(code)
    for name, value in (
        {"content-length": str(len(body)), "content-type": "application/json"} | dict(headers)
    ).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
