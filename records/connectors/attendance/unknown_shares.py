"""Attendance entries that say that part of a day was missed, and not how much of it.

Such a day counts as none missed, because nothing more is known; but it is never silently so. The
code counts as one that nobody has explained, and the report names it with the line of the profile
that would.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from records.connectors.profiles.profile import fold
from records.connectors.protocol import RecordSink

_EARLY = "early"
"""In a code that says that the student left early ("Early departure", "Early Release Excused").
With no time given they were at school as who came late was: it says all there is to say."""

_MOST_CODES = 5


@dataclass
class UnknownShares:
    """The entries of one source; `profile` is the name of its profile."""

    sink: RecordSink
    profile: str
    codes: Counter[str] = field(default_factory=Counter)

    def says_how_much(self, code: str, status: str, share: object) -> bool:
        """Whether an entry says how much of the day was missed; if not, it is counted."""
        if status != "partial" or share not in (None, "") or _EARLY in fold(code):
            return True
        self.codes[code[:40]] += 1
        return False

    def finish(self) -> None:
        """Name what was counted in the report."""
        if self.codes:
            named = ", ".join(f"{code!r} {n:,}" for code, n in self.codes.most_common(_MOST_CODES))
            example = next(iter(self.codes))
            self.sink.note(
                "Attendance entries that say that part of a day was missed, and not how much:"
                f" {self.codes.total():,} ({named}). They count as no absence;"
                f" profiles/{self.profile}.toml can say how much, under [attendance.codes]:"
                f' "{example}" = {{ status = "partial", absent_share = 0.25 }}'
            )
