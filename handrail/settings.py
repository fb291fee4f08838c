"""Where Handrail keeps its data. Read once from the environment; nothing else reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`home` holds snapshots, features, models and the operational database (SQLite unless `database_url` is set)."""

    home: Path
    database_url: str

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Settings from `HANDRAIL_HOME` (default `./var`) and `HANDRAIL_DATABASE_URL`; an explicit `home` wins."""
        folder = (home or Path(os.environ.get("HANDRAIL_HOME", "var"))).resolve()
        return cls(folder, os.environ.get("HANDRAIL_DATABASE_URL") or f"sqlite:///{folder / 'handrail.db'}")
