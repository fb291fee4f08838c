"""One Ed-Fi record as the rules see it, and the paths by which they ask.

Every path is that of the XML interchange; the record knows how its own format spells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Protocol

from records.canonical.quarantine import BadValue

STUDENT = ("StudentReference", "StudentIdentity", "StudentUniqueId")
SCHOOL = ("SchoolReference", "SchoolIdentity", "SchoolId")
SECTION = ("SectionReference", "SectionIdentity")
COURSE_OFFERING = (*SECTION, "CourseOfferingReference", "CourseOfferingIdentity")


class EdFiRecord(Protocol):
    """One Ed-Fi record. Every path is that of the XML interchange."""

    @property
    def kind(self) -> str:
        """The name of its element, for example `StudentSchoolAssociation`."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def label(self) -> str | None:
        """What other records of the source use to link to it, where the format has links."""

    def text(self, *path: str) -> str | None: ...

    def code(self, *path: str) -> str | None:
        """The code of a descriptor, without its namespace."""

    def children(self, name: str) -> Iterator[EdFiRecord]:
        """The record once for each of its elements of that name, with that element alone."""

    def reference_label(self, *path: str) -> str | None:
        """The label of the record that a reference links to, where the format has links."""

    def redacted_text(self) -> str:
        """The record for the quarantine, without anything that is never stored."""


def student_of(record: EdFiRecord, *within: str) -> str:
    """The student whom the record is about.

    Raises:
        BadValue: it names none.
    """
    student = record.text(*within, *STUDENT)
    if not student:
        raise BadValue("StudentUniqueId", "StudentUniqueId is empty, and a row needs it")
    return student


def day_of(record: EdFiRecord, *path: str) -> date | None:
    """The day at the path, None where there is none.

    Raises:
        BadValue: it is not a date.
    """
    text = record.text(*path)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise BadValue(
            path[-1], f"{path[-1]} is {text!r}; a date must look like 2026-04-17"
        ) from None


def says_no(text: str | None) -> bool:
    """Whether a Boolean of the standard, or a code in its place, is false."""
    plain = "".join(character for character in (text or "").lower() if character.isalnum())
    return plain in {"false", "0", "no", "n", "noteligible", "ineligible", "didnotqualify"}


def says_yes(text: str | None) -> bool:
    """Whether a Boolean of the standard is true."""
    return (text or "").lower() in {"true", "1", "yes", "y"}
