"""A real browser on a real site: the whole demo, made by its own command and served by its own
command.

`HANDRAIL_TEST_DEMO` may name the folder of a finished demo, to save the minutes of making one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from serving.students.caseload import GETTING_READY

COMMAND = [sys.executable, "-c", "from handrail.cli import app; app()"]
STUDENTS = 8_000
"""Half of the usual demo: enough for a model that may be signed."""

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def handrail(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@contextmanager
def served(home: Path, **environment: str) -> Iterator[str]:
    """`handrail serve` as a process of its own; the site's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--home", str(home)],
        env={**os.environ, **environment},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{address}/sign-in"):
                    break
            except OSError:
                assert process.poll() is None, "the site did not start"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ready = os.environ.get("HANDRAIL_TEST_DEMO")
    folder = Path(ready) if ready else tmp_path_factory.mktemp("demo") / "demo-district"
    run = handrail("demo", str(folder), "--students", str(STUDENTS), "--no-site")
    assert run.returncode == 0, run.stderr
    return folder / "home"


@pytest.fixture(scope="session")
def demo_site(demo_home: Path) -> Iterator[str]:
    with served(demo_home) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        message = "Chromium is not installed: run `make system`"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    yield context.new_page()
    context.close()


def sign_in(page: Page, site: str, name: str) -> None:
    """Through the demo's own buttons on the sign-in page."""
    page.context.clear_cookies()
    page.goto(f"{site}/sign-in")
    page.get_by_role("button", name=f"Sign in as {name}").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def wait_for_model(page: Page) -> None:
    """A site that has just started answers at once and loads its model meanwhile."""
    for _ in range(60):
        if GETTING_READY not in page.content():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError("the model was not loaded in 30 seconds")
