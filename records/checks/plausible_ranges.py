"""What is plausible of a school: `plausible_ranges.toml`, and a district's own entries over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from records.system.errors import UserError
from records.system.files import district_file, read_toml

PLAUSIBLE_RANGES_FILE = Path(__file__).with_name("plausible_ranges.toml")
_ENTRIES = ("low", "high", "source")
_SILENCE = {"silence_below": "low", "silence_above": "high"}
"""Optional entries, and the bound of the range beyond which each must lie."""


class PlausibleRangesError(UserError, ValueError):
    """A file that cannot be used; the message names it, the entry and what would be right."""


@dataclass(frozen=True)
class PlausibleRange:
    """From where to where a figure is plausible, both included, and where that comes from.

    Attributes:
        silence_below, silence_above: farther out, where the figure is no longer only asked about:
            beyond them alerts are silent until the district has said that it is right. None where
            that is never so.
    """

    low: float
    high: float
    source: str
    silence_below: float | None = None
    silence_above: float | None = None

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def distance(self, value: float) -> float:
        """How far beyond the range a value is, in widths of the range; 0 within it."""
        beyond = max(self.low - value, value - self.high, 0.0)
        return beyond / (self.high - self.low)

    def silences(self, value: float) -> bool:
        """Whether a value is so far beyond the range that alerts which rest on it are silent."""
        return (self.silence_below is not None and value < self.silence_below) or (
            self.silence_above is not None and value > self.silence_above
        )


@cache
def declared_ranges() -> Mapping[str, PlausibleRange]:
    """The ranges that come with Handrail, by figure."""
    return _read(PLAUSIBLE_RANGES_FILE, None)


def plausible_ranges(home: Path) -> Mapping[str, PlausibleRange]:
    """The ranges, by figure; those in the district's own file replace the declared ones.

    Raises:
        PlausibleRangesError: the file is no TOML, names an unknown figure or entry, or a range is
            not one.
    """
    file = district_file(home, PLAUSIBLE_RANGES_FILE)
    declared = declared_ranges()
    return declared if file == PLAUSIBLE_RANGES_FILE else {**declared, **_read(file, declared)}


def _read(file: Path, known: Mapping[str, PlausibleRange] | None) -> dict[str, PlausibleRange]:
    content = read_toml(file, PlausibleRangesError)
    for name in content:
        if known is not None and name not in known:
            raise PlausibleRangesError(f"{file}: {name} is not known; there are {', '.join(known)}")
    return {name: _range(f"{file}: {name}", entry) for name, entry in content.items()}


def _range(where: str, entry: Any) -> PlausibleRange:
    if not isinstance(entry, dict) or set(entry) - set(_SILENCE) != set(_ENTRIES):
        raise PlausibleRangesError(
            f"{where} must have {', '.join(_ENTRIES)}, and nothing else but"
            f" {' and '.join(_SILENCE)}"
        )
    low, high, source = (entry[name] for name in _ENTRIES)
    silence = {name: entry[name] for name in _SILENCE if name in entry}
    for name, value in (("low", low), ("high", high), *silence.items()):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise PlausibleRangesError(f"{where}: {name} is {value!r}; it must be a number")
    if not low < high:
        raise PlausibleRangesError(f"{where}: low is {low}; it must be below high, {high}")
    if not isinstance(source, str) or not source.strip():
        raise PlausibleRangesError(
            f"{where}: source is {source!r}; it must say in words where the range comes from"
        )
    for name, value in silence.items():
        bound = _SILENCE[name]
        if (value > low) if bound == "low" else (value < high):
            raise PlausibleRangesError(
                f"{where}: {name} is {value}; it must not lie within the range: {bound} is"
                f" {entry[bound]}"
            )
    return PlausibleRange(
        float(low), float(high), source, **{name: float(value) for name, value in silence.items()}
    )
