"""Ed-Fi XML interchange files (Data Standard 5.2, and older namespaces) to canonical tables.

Files are streamed, one record in memory at a time; a document type or an entity is refused by name.
The load report names the elements that were met and are never stored. What a record means is in
`edfi_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lxml import etree

from records.canonical.never_ingest import prohibited_kind
from records.canonical.schema import TABLES
from records.connectors.edfi.rules import OTHER_PROGRAMS, PROGRAM_CHARACTERISTICS, EdFiNormalizer
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


@dataclass
class EdFiFiles:
    """The connector for a folder of Ed-Fi XML interchange files."""

    name: str = "edfi"
    tables: tuple[str, ...] = tuple(name for name in TABLES if name != "service_sessions")

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read every `*.xml` file of `directory`. See `Connector.read`."""
        files = sorted(directory.glob("*.xml"), key=_reading_order)
        if not files:
            raise SourceRefused(
                f"{directory} holds no .xml file; Ed-Fi interchange files were expected"
            )
        for start, stays_empty in EXPECTED_FILES.items():
            if not any(
                file.name.startswith(start) and _starts_exactly(file.name, start) for file in files
            ):
                sink.missing(f"{start}.xml", stays_empty)
        reading = EdFiNormalizer(sink)
        for file in files:
            size = file.stat().st_size
            for element in stream_records(file):
                record = _XmlRecord.of(file.name, element)
                _report_refused(sink, file.name, element)
                if record.kind in PROGRAM_CHARACTERISTICS or record.kind in OTHER_PROGRAMS:
                    reading.facts_known.update(PROGRAM_CHARACTERISTICS.values())
                reading.take(record)
                if element.sourceline and element.sourceline % 2000 < 3:
                    progress(file.name, min(size, element.sourceline * 40), size)
            progress(file.name, size, size)
        reading.finish()


def stream_records(file: Path) -> Iterator[Any]:
    """The records of an interchange file (children of the root), one at a time, in constant memory.

    Raises:
        SourceRefused: the file has a document type or entity, or is not well formed, with line and
            column.
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
    """True unless the name goes on in lower case: StudentGradebook is not StudentGrade; Student-X
    is Student.
    """
    rest = name[len(start) :]
    return not rest[:1].isalpha() or start == "StudentAssessment"


def _reading_order(file: Path) -> tuple[int, str]:
    """Context first (schools, calendar, courses), then students, then what refers to them."""
    first = (
        "EducationOrganization",
        "EducationOrgCalendar",
        "MasterSchedule",
        "Student.",
        "Student-",
    )
    for position, start in enumerate(first):
        if file.name.startswith(start):
            return position, file.name
    return len(first), file.name


@dataclass(frozen=True)
class _XmlRecord:
    """A record of an interchange file. `children` are the elements of the record that it speaks
    of.
    """

    kind: str
    file: str
    line: int
    label: str | None
    element: Any
    children: Any

    @classmethod
    def of(cls, file: str, element: Any) -> _XmlRecord:
        return cls(
            _local(element), file, int(element.sourceline or 0), element.get("id"), element, element
        )

    def text(self, *path: str) -> str | None:
        found = _at(self.children, *path)
        return None if found is None or found.text is None else str(found.text).strip()

    def code(self, *path: str) -> str | None:
        """After `#` in Ed-Fi 3 and later; a CodeValue or plain text before."""
        text = self.text(*path, "CodeValue") or self.text(*path) or ""
        return text.rsplit("#", 1)[-1] or None

    def each(self, name: str) -> Iterator[_XmlRecord]:
        for child in self.children:
            if _local(child) == name:
                yield replace(self, children=(child,))

    def points_to(self, *path: str) -> str | None:
        found = _at(self.children, *path)
        return None if found is None else found.get("ref")

    def shown(self) -> str:
        """Nothing of a discipline record: its text is a narrative."""
        if self.kind.startswith("Discipline"):
            return ""
        raw = " ".join("".join(self.element.itertext()).split())[:2000]
        for child in self.element.iterdescendants():
            text = (child.text or "").strip()
            if text and prohibited_kind(_local(child)):
                raw = raw.replace(" ".join(text.split()), "[not stored]")
        return raw


def _report_refused(sink: RowSink, file: str, element: Any) -> None:
    for child in element.iterdescendants():
        kind = prohibited_kind(_local(child))
        if kind is not None:
            sink.drop_column(file, _local(child), kind)


def _local(element: Any) -> str:
    return str(etree.QName(element).localname) if isinstance(element.tag, str) else ""


def _at(children: Any, *path: str) -> Any | None:
    found = None
    for step in path:
        found = next((child for child in children if _local(child) == step), None)
        if found is None:
            return None
        children = found
    return found
