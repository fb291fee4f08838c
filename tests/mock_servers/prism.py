"""Prism, an independent mock server that validates each request against an OpenAPI document."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

BINARY = Path(__file__).parent / "node_modules" / ".bin" / "prism"


@contextmanager
def serving(document: Path) -> Iterator[str]:
    """The address of a mock server of that document, which rejects invalid requests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [BINARY, "mock", "--errors", "--port", str(port), document],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(600):
        assert process.poll() is None, "the mock server has ended"
        try:
            httpx2.get(address)
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the mock server does not listen")
