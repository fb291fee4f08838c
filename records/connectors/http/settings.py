"""A source behind an API, as a district writes it down: a small TOML file that holds no secret.

The secret is named, never written: an environment variable, or a file that only its owner may read.
This module refuses a file with an unknown part, a secret in it, or an address in clear.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records.connectors.http.client import Credentials, require_https
from records.connectors.protocol import SourceRefused

_TEXTS = ("kind", "name", "base_url", "token_url", "client_id")
_PARTS: dict[str, type] = dict.fromkeys(
    (*_TEXTS, "scope", "client_secret_env", "client_secret_file"), str
) | {"page_size": int, "options": dict}


@dataclass(frozen=True)
class ApiSettings:
    """One API. `name` names its mirror; `options` are the connector's own, for example
    `{"interventions": true}`.

    `folder` is where the file lies that they were read from: paths in `options` begin there.
    """

    kind: str
    name: str
    base_url: str
    credentials: Credentials
    page_size: int = 500
    options: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()


def read_api_settings(file: Path) -> ApiSettings:
    """Read and check a source's settings, and fetch its secret from where the file says.

    Raises:
        SourceRefused: naming the file, and the line of the first thing that is wrong.
    """
    text = file.read_text(encoding="utf-8")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceRefused(f"{file.name}: not valid TOML: {error}") from None
    for name, value in found.items():
        if name == "client_secret":
            _refuse(
                file,
                text,
                name,
                "must not be in this file: name client_secret_env or client_secret_file instead",
            )
        if name not in _PARTS:
            _refuse(
                file,
                text,
                name,
                f"is not part of a source's settings; the parts are {', '.join(_PARTS)}",
            )
        if type(value) is not _PARTS[name]:
            _refuse(file, text, name, f"is {value!r}; it must be a {_PARTS[name].__name__}")
    for name in _TEXTS:
        if not found.get(name):
            _refuse(file, text, name, "is missing")
    if not found["name"].replace("-", "").isalnum():
        _refuse(
            file, text, "name", f"is {found['name']!r}; it may hold letters, digits and hyphens"
        )
    for name in ("base_url", "token_url"):
        try:
            require_https(found[name])
        except SourceRefused as error:
            _refuse(file, text, name, f"will not do: {error}")
    page_size = found.get("page_size", 500)
    if not 1 <= page_size <= 10_000:
        _refuse(file, text, "page_size", f"is {page_size}; it must be from 1 to 10000")
    secret = _secret(file, text, found)
    credentials = Credentials(
        found["token_url"], found["client_id"], secret, found.get("scope", "")
    )
    return ApiSettings(
        found["kind"],
        found["name"],
        found["base_url"],
        credentials,
        page_size,
        found.get("options", {}),
        file.parent,
    )


def _secret(file: Path, text: str, found: dict[str, Any]) -> str:
    variable, held_in = found.get("client_secret_env"), found.get("client_secret_file")
    if (variable is None) == (held_in is None):
        _refuse(
            file,
            text,
            "client_secret_env",
            "or client_secret_file must say where the secret is: one of the two",
        )
    if variable is not None:
        if not os.environ.get(variable):
            raise SourceRefused(
                f"{file.name}: the environment variable {variable} is empty; it must hold the"
                " secret"
            )
        return os.environ[variable]
    path = file.parent / str(held_in)
    if not path.is_file():
        raise SourceRefused(f"{file.name}: the secret's file {path} is not there")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SourceRefused(f"{path} may be read by others than its owner: run chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip()


def _refuse(file: Path, text: str, name: str, why: str) -> None:
    lines = text.splitlines()
    number = next(
        (n for n, line in enumerate(lines, start=1) if line.split("=", 1)[0].strip() == name),
        len(lines) + 1,
    )
    raise SourceRefused(f"{file.name}, line {number}: {name} {why}")
