"""Ed-Fi XML interchange files (Data Standard 5.2, and older namespaces) to canonical tables.

Files are streamed, one record in memory at a time; a document type or an entity is refused by name.
The load report names the elements that were seen and are never stored. What a record means is in
`edfi/rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lxml import etree

from records.canonical.never_ingest import prohibited_kind
from records.canonical.schema import DERIVED_TABLES, TABLES
from records.connectors.edfi.characteristics import OTHER_PROGRAMS, PROGRAM_CHARACTERISTICS
from records.connectors.edfi.rules import EdFiNormalizer
from records.connectors.file_names import files_by_name
from records.connectors.profiles.profile import SourceProfile, standard_profile
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

EXPECTED_FILES = {
    "EducationOrganization": "schools",
    "EducationOrgCalendar": "calendar (so no rate of absence)",
    "MasterSchedule": "course titles (courses keep their codes)",
    "Student": "students",
    "StudentEnrollment": (
        "school_enrollments and grade levels (a student's school is taken from attendance)"
    ),
    "StudentSchoolAttendance": "attendance_events",
    "StudentDiscipline": "behavior_incidents",
    "StudentGrade": "course_grades (so no course average and no course-failing alert)",
    "StudentGradebook": "gradebook_entries",
    "StudentTranscript": "past courses and credits",
    "StudentAssessment": "assessments",
    "StudentProgram": "characteristics from programs (the fairness audit has no such groups)",
    "StudentIntervention": "service_enrollments of school-run supports",
}
"""The start of each interchange file's name -> what stays empty without it."""
_RECORDS = {
    "EducationOrganization": ("School",),
    "EducationOrgCalendar": ("CalendarDate",),
    "MasterSchedule": ("CourseOffering",),
    "Student": ("Student",),
    "StudentEnrollment": ("StudentSchoolAssociation",),
    "StudentSchoolAttendance": ("StudentSchoolAttendanceEvent",),
    "StudentDiscipline": (
        "StudentDisciplineIncidentBehaviorAssociation",
        "StudentDisciplineIncidentAssociation",
    ),
    "StudentGrade": ("Grade",),
    "StudentGradebook": ("StudentGradebookEntry",),
    "StudentTranscript": ("StudentAcademicRecord", "CourseTranscript"),
    "StudentAssessment": ("StudentAssessment",),
    "StudentProgram": (*PROGRAM_CHARACTERISTICS, *OTHER_PROGRAMS),
    "StudentIntervention": ("StudentInterventionAssociation",),
}
"""The start of each file's name -> the records for which it is expected. A file of another name may
hold them: StudentParent holds students in 2.0, StudentAttendance attendance in every version."""

_CONTEXT = (
    "EducationOrganization",
    "EducationOrgCalendar",
    "MasterSchedule",
    "Student",
    "StudentEnrollment",
)
"""Interchanges that are read first, because others refer to what is in them."""

_INTERCHANGE = re.compile(rb"<(?:[\w.-]+:)?Interchange(\w+)")
_ROOT_WITHIN = 8192
"""Bytes in which a file's root is looked for; beyond them the file's name decides."""


_prohibited_kind = lru_cache(4096)(prohibited_kind)
"""A file has few names of elements and many elements."""


@dataclass
class EdFiFiles:
    """The connector for a folder of Ed-Fi XML interchange files."""

    profile: SourceProfile = field(default_factory=lambda: standard_profile("edfi"))
    name: str = "edfi"
    tables: tuple[str, ...] = tuple(
        name for name in TABLES if name not in ("service_sessions", *DERIVED_TABLES)
    )

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read every `*.xml` file of `directory`. See `Connector.read`."""
        files = sorted(
            (
                path
                for path in files_by_name(directory).values()
                if path.suffix.casefold() == ".xml"
            ),
            key=_reading_order,
        )
        if not files:
            raise SourceRefused(
                f"{directory} holds no .xml file; Ed-Fi interchange files were expected"
            )
        normalizer = EdFiNormalizer(sink, self.profile)
        kinds: set[str] = set()
        empty: set[str] = set()
        for file in files:
            size, is_empty = file.stat().st_size, True
            for element in stream_records(file):
                record, is_empty = _XmlRecord.of(file.name, element), False
                _report_never_stored(sink, file.name, element)
                kinds.add(record.kind)
                normalizer.add(record)
                if element.sourceline and element.sourceline % 2000 < 3:
                    progress(file.name, min(size, element.sourceline * 40), size)
            progress(file.name, size, size)
            if is_empty:
                empty.add(file.name)
                sink.note(f"{file.name} holds no record: it counts as a missing file")
        _refuse_without_students(kinds, empty)
        normalizer.finish()
        for start, stays_empty in EXPECTED_FILES.items():
            if kinds.isdisjoint(_RECORDS[start]) and not any(
                _starts_exactly(file.name, start) and file.name not in empty for file in files
            ):
                sink.missing(f"{start}.xml", stays_empty)


def _refuse_without_students(kinds: set[str], empty: set[str]) -> None:
    """Refuse a source whose file of students is there and holds none.

    Raises:
        SourceRefused: that is so.
    """
    starts = ("Student", "StudentParent")
    file = next(
        (name for name in sorted(empty) if any(_starts_exactly(name, start) for start in starts)),
        None,
    )
    if file is not None and "Student" not in kinds:
        raise SourceRefused(
            f"{file} holds no record, and no other file holds a Student: a district has students,"
            " so the export was cut short"
        )


def stream_records(file: Path) -> Iterator[Any]:
    """The records of an interchange file (children of the root), one at a time, in constant memory.

    Raises:
        SourceRefused: the file has a document type or an entity, or is not well-formed (with line
            and column).
    """
    context = etree.iterparse(
        str(file),
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    depth = 0
    try:
        for event, element in context:
            if depth == 0:
                _refuse_document_type(file, element)
            depth += 1 if event == "start" else -1
            if event == "end" and depth == 1 and isinstance(element.tag, str):
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise SourceRefused(
            f"{file.name}, line {line}, column {column}: not well-formed XML: {error.msg}"
        ) from None


def _refuse_document_type(file: Path, root: Any) -> None:
    document_type = root.getroottree().docinfo.internalDTD
    if document_type is not None:
        names = ", ".join(entity.name for entity in document_type.iterentities()) or "none"
        raise SourceRefused(
            f"{file.name}: the file declares a document type {document_type.name!r} (entities:"
            f" {names}); Ed-Fi files have none, and one could hide or fetch other content"
        )


def _starts_exactly(name: str, start: str) -> bool:
    """Whether a name starts so, in any case, and does not go on in letters.

    StudentGradebook is not StudentGrade. StudentAssessment may go on: its files are named for the
    assessment.
    """
    if not name.casefold().startswith(start.casefold()):
        return False
    rest = name[len(start) :]
    return not rest[:1].isalpha() or start == "StudentAssessment"


def _reading_order(file: Path) -> tuple[int, str]:
    """Context first (schools, calendar, courses), then students and their enrollments, then the
    rest."""
    interchange = _interchange(file)
    if interchange == "StudentParent":
        interchange = "Student"
    position = _CONTEXT.index(interchange) if interchange in _CONTEXT else len(_CONTEXT)
    return position, file.name


def _interchange(file: Path) -> str:
    """The interchange that the file's root names; if none, what its name begins with."""
    with file.open("rb") as content:
        root = _INTERCHANGE.search(content.read(_ROOT_WITHIN))
    if root is not None:
        return root[1].decode("ascii", "replace")
    return file.name.partition(".")[0].partition("-")[0]


@dataclass(frozen=True)
class _XmlRecord:
    """A record of an interchange file; `elements` are those of its elements that it is about."""

    kind: str
    file: str
    line: int
    label: str | None
    element: Any
    elements: Any

    @classmethod
    def of(cls, file: str, element: Any) -> _XmlRecord:
        return cls(
            _local_name(element),
            file,
            int(element.sourceline or 0),
            element.get("id"),
            element,
            element,
        )

    def text(self, *path: str) -> str | None:
        element = _descend(self.elements, *path)
        return None if element is None or element.text is None else str(element.text).strip()

    def code(self, *path: str) -> str | None:
        """After `#` in Ed-Fi 3 and later; a CodeValue or plain text before."""
        text = self.text(*path, "CodeValue") or self.text(*path) or ""
        return text.rsplit("#", 1)[-1] or None

    def children(self, name: str) -> Iterator[_XmlRecord]:
        for child in self.elements:
            if _local_name(child) == name:
                yield replace(self, elements=(child,))

    def reference_label(self, *path: str) -> str | None:
        element = _descend(self.elements, *path)
        return None if element is None else element.get("ref")

    def redacted_text(self) -> str:
        """Nothing of a discipline record: its text is a narrative."""
        if self.kind.startswith("Discipline"):
            return ""
        raw = " ".join("".join(self.element.itertext()).split())[:2000]
        for child in self.element.iterdescendants():
            text = (child.text or "").strip()
            if text and _prohibited_kind(_local_name(child)):
                raw = raw.replace(" ".join(text.split()), "[not stored]")
        return raw


def _report_never_stored(sink: RowSink, file: str, element: Any) -> None:
    for child in element.iterdescendants():
        kind = _prohibited_kind(_local_name(child))
        if kind is not None:
            sink.drop_column(file, _local_name(child), kind)


def _local_name(element: Any) -> str:
    return _without_namespace(element.tag) if isinstance(element.tag, str) else ""


@lru_cache(4096)
def _without_namespace(tag: str) -> str:
    return tag.rpartition("}")[2]


def _descend(elements: Any, *path: str) -> Any | None:
    element = None
    for name in path:
        element = next((child for child in elements if _local_name(child) == name), None)
        if element is None:
            return None
        elements = element
    return element
