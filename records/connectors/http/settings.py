"""The settings of a source behind an API: a small TOML file that contains no secret.

The secret is named, never written: an environment variable, or a file that only its owner may read.
This module refuses a file with an unknown setting, a secret in it, or an unencrypted address.
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

_REQUIRED_TEXTS = ("kind", "name", "base_url", "token_url", "client_id")
_SETTING_TYPES: dict[str, type] = dict.fromkeys(
    (*_REQUIRED_TEXTS, "scope", "client_secret_env", "client_secret_file"), str
) | {"page_size": int, "options": dict}


@dataclass(frozen=True)
class ApiSettings:
    """One API source, as its settings file describes it.

    `name` names its mirror; `options` are the connector's own, for example `{"interventions":
    true}`; `folder` is where the settings file is: paths in `options` are relative to it.
    `page_size` is in records.
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
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceRefused(f"{file.name}: not valid TOML: {error}") from None
    for name, value in settings.items():
        if name == "client_secret":
            _refuse(
                file,
                text,
                name,
                "must not be in this file: name client_secret_env or client_secret_file instead",
            )
        if name not in _SETTING_TYPES:
            _refuse(
                file,
                text,
                name,
                f"is not a source setting; the settings are {', '.join(_SETTING_TYPES)}",
            )
        if type(value) is not _SETTING_TYPES[name]:
            _refuse(file, text, name, f"is {value!r}; it must be a {_SETTING_TYPES[name].__name__}")
    for name in _REQUIRED_TEXTS:
        if not settings.get(name):
            _refuse(file, text, name, "is missing")
    if not settings["name"].replace("-", "").isalnum():
        _refuse(
            file, text, "name", f"is {settings['name']!r}; it may hold letters, digits and hyphens"
        )
    for name in ("base_url", "token_url"):
        try:
            require_https(settings[name])
        except SourceRefused as error:
            _refuse(file, text, name, f"is invalid: {error}")
    page_size = settings.get("page_size", 500)
    if not 1 <= page_size <= 10_000:
        _refuse(file, text, "page_size", f"is {page_size}; it must be from 1 to 10000")
    secret = _secret(file, text, settings)
    credentials = Credentials(
        settings["token_url"], settings["client_id"], secret, settings.get("scope", "")
    )
    return ApiSettings(
        settings["kind"],
        settings["name"],
        settings["base_url"],
        credentials,
        page_size,
        settings.get("options", {}),
        file.parent,
    )


def _secret(file: Path, text: str, settings: dict[str, Any]) -> str:
    variable, secret_file = settings.get("client_secret_env"), settings.get("client_secret_file")
    if (variable is None) == (secret_file is None):
        _refuse(
            file,
            text,
            "client_secret_env",
            "or client_secret_file must be set, but not both",
        )
    if variable is not None:
        if not os.environ.get(variable):
            raise SourceRefused(
                f"{file.name}: the environment variable {variable} is empty; it must hold the"
                " secret"
            )
        return os.environ[variable]
    path = file.parent / str(secret_file)
    if not path.is_file():
        raise SourceRefused(f"{file.name}: the secret's file {path} is not there")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SourceRefused(f"{path} may be read by others than its owner: run chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip()


def _refuse(file: Path, text: str, name: str, problem: str) -> None:
    lines = text.splitlines()
    number = next(
        (
            line_number
            for line_number, line in enumerate(lines, start=1)
            if line.split("=", 1)[0].strip() == name
        ),
        len(lines) + 1,
    )
    raise SourceRefused(f"{file.name}, line {number}: {name} {problem}")
