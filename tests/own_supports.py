"""A district's own list of supports: those of Handrail, and two kinds of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from records.canonical.supports import SUPPORTS_FILE, SupportCatalog

MOTEL_VOUCHERS = """
[motel_vouchers]
name = "Motel vouchers"
name_es = "Vales de motel"
description = "A room in a motel for a family that has nowhere to stay."
description_es = "Una habitación de motel para una familia sin alojamiento."
tells_of_housing = true
"""
HOMEWORK_CLUB = """
[homework_club]
name = "Homework club"
name_es = "Club de tareas"
description = "A quiet room after school with somebody to ask."
description_es = "Un lugar tranquilo después de clases con alguien a quien preguntar."
tells_of_housing = false
typical_cost = "about $300 a student a year"
cost_source = "the district's contract of 2025"
"""
OWN_HOUSING = ("housing_help", "motel_vouchers")
"""The kinds of the list that tell of housing."""


def own_list(*left_out: str, text: str = MOTEL_VOUCHERS + HOMEWORK_CLUB) -> str:
    """The list of Handrail with `text` at its end, without the kinds that are left out."""
    tables = SUPPORTS_FILE.read_text(encoding="utf-8").split("\n[")
    kept = [table for table in tables if table.split("]")[0] not in left_out]
    return "\n[".join(kept) + text


def write_own_list(home: Path, *left_out: str) -> SupportCatalog:
    """Put `own_list` into a home, and read it."""
    home.mkdir(parents=True, exist_ok=True)
    (home / SUPPORTS_FILE.name).write_text(own_list(*left_out), encoding="utf-8")
    return SupportCatalog.of(home)


def _read_own_list() -> SupportCatalog:
    with TemporaryDirectory() as folder:
        return write_own_list(Path(folder))


OWN_LIST = _read_own_list()
"""The whole of it; its file is gone."""
