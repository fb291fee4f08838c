"""Fixtures shared by the tests of every room, and the order in which test files run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings

from records.database.engine import Database, open_database
from records.staff import accounts
from tests.database_copies import make_database

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

Serving = Callable[[Path], AbstractContextManager[str]]
LONGEST = (
    "tests/journeys/test_demo_journey.py",
    "tests/handrail/test_model_commands.py",
    "tests/test_noninterference_postgresql.py",
    "tests/handrail/test_small_numbers.py",
    "tests/test_noninterference.py",
    "tests/records/connectors/test_edfi_api.py",
    "tests/records/connectors/test_oneroster_api.py",
    "tests/training/registry/test_registry.py",
    "tests/records/connectors/test_oneroster.py",
    "tests/records/snapshots/test_snapshots.py",
    "tests/journeys/test_published_sample.py",
    "tests/fairness/publication/test_publishing.py",
    "tests/records/access/test_publication.py",
    "tests/records/access/test_noninterference.py",
    "tests/records/connectors/test_one_child_several_users.py",
    "tests/serving/exports/test_disclosure_rows.py",
    "tests/records/access/test_explanation.py",
    "tests/records/connectors/test_powerschool.py",
    "tests/records/loading/test_kills.py",
    "tests/training/effects/test_effects.py",
    "tests/fairness/approval/test_signoff.py",
    "tests/serving/students/test_scope_on_pages.py",
    "tests/fairness/population/test_comparisons.py",
    "tests/fairness/population/test_students.py",
)
"""Files that take a minute or more, longest first as measured. One of them started last would leave
the other worker idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        ranks = (rank for rank, path in enumerate(LONGEST) if item.nodeid.startswith(path))
        return next(ranks, len(LONGEST))

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Cheap password hashes within the test process, because tests create hundreds of accounts.

    Commands that run as processes of their own hash at full cost, which `test_published_sample`
    checks.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published sample data: `$HANDRAIL_SHARED/data`, by default `../shared/data`.

    In CI a missing folder fails the test; elsewhere it skips the test, with the reason.
    """
    return _shared("data")


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small inputs like real exports: `$HANDRAIL_SHARED/cases/records`.

    In CI a missing folder fails the test; elsewhere it skips the test, with the reason.
    """
    return _shared("cases/records")


def _shared(name: str) -> Path:
    folder = Path(os.environ.get("HANDRAIL_SHARED", "../shared")).resolve() / name
    if not folder.is_dir():
        message = (
            f"sample data not found: {folder} is not a folder; set HANDRAIL_SHARED to the folder"
            f" that holds {name}/"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def prism() -> Serving:
    """Serves an OpenAPI document on this machine: `with prism(document) as address`.

    In CI a missing Prism fails the test; elsewhere it skips the test, with the reason.
    """
    from tests.mock_servers.prism import BINARY, serving

    if not BINARY.exists():
        message = (
            "Prism is not installed: run `make tests/mock_servers/node_modules/.package-lock.json`"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return serving


@pytest.fixture(scope="session")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a trained, audited and signed model, made once for all workers; each test copies
    it.
    """
    from tests.approved_home import make_approved_home

    if "PYTEST_XDIST_WORKER" not in os.environ:
        return make_approved_home(tmp_path_factory.mktemp("approved"))
    home = tmp_path_factory.getbasetemp().parent / "approved"
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            making = tmp_path_factory.mktemp("approved")
            make_approved_home(making).rename(home)
    return home


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty operational database, made once; each test copies it."""
    file = tmp_path_factory.mktemp("empty") / "handrail.db"
    open_database(f"sqlite:///{file}").engine.dispose()
    return file


@pytest.fixture
def new_sqlite(empty_sqlite: Path, tmp_path: Path) -> Callable[[str], Database]:
    """Makes an empty operational database in a file of the given name."""

    def make(name: str) -> Database:
        shutil.copyfile(empty_sqlite, tmp_path / f"{name}.db")
        return open_database(f"sqlite:///{tmp_path / name}.db")

    return make


@pytest.fixture(scope="session")
def empty_postgresql(postgres_server: str) -> str:
    """The name of an empty operational database on PostgreSQL, a template for others."""
    open_database(make_database(postgres_server, "empty")).engine.dispose()
    return "empty"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, with `{name}` for a database, of a PostgreSQL server that lives as long as the run.

    It listens on a socket in a temporary folder. In CI a missing PostgreSQL fails the test;
    elsewhere it skips the test, with the reason.
    """
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        message = "PostgreSQL is not installed: run `make system`"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    binary = binaries[-1].parent
    folder = Path("/tmp") / f"handrail-pg-{os.getpid()}"
    folder.mkdir(mode=0o777)
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    subprocess.run(
        [*as_user, binary / "initdb", "-D", data, "-A", "trust", "-U", "handrail"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    subprocess.run(
        [
            *as_user,
            binary / "pg_ctl",
            "-D",
            data,
            "-o",
            options,
            "-w",
            "-l",
            folder / "log",
            "start",
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    yield f"postgresql+psycopg://handrail@/{{name}}?host={folder}"
    subprocess.run(
        [*as_user, binary / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
        check=False,
        capture_output=True,
        cwd="/",
    )
    shutil.rmtree(folder, ignore_errors=True)
