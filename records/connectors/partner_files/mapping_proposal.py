"""A first draft of a partner's mapping, from the headers of its export and the shape of what stands
below them.

Owns the words by which exports name things. It proposes only what a name says and the values do not
contradict; what could be two things becomes a question and stays unmapped. What it tells is names
of columns and kinds of values, never a value; the draft that is written also holds the names of
programs and the codes of attendance.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

from records.canonical.never_ingest import prohibited_kind
from records.canonical.schema import SUPPORTS
from records.connectors.csv_files import iter_readable_rows
from records.connectors.partner_files.mapping import FILE_KINDS, FileMapping, normalize_word
from records.connectors.protocol import SourceRefused

_SAMPLE = 10_000
_NAMES: dict[str, tuple[str, ...]] = {
    "student_id": (
        "student number",
        "district student id",
        "district id",
        "local student id",
        "sis id",
        "lasid",
        "numero de estudiante",
        "numero de estudiante del distrito",
    ),
    "participant_id": (
        "participant id",
        "participant number",
        "client id",
        "client number",
        "contact id",
        "person id",
        "subject id",
        "subject unique identifier",
        "id participante",
        "id del participante",
        "numero de participante",
        "id cliente",
    ),
    "session_id": (
        "session id",
        "record id",
        "service id",
        "service delivery id",
        "response id",
        "touchpoint response id",
        "attendance id",
        "visit id",
        "id de sesion",
        "id sesion",
    ),
    "enrollment_id": (
        "enrollment id",
        "enrolment id",
        "enrollment record id",
        "program engagement id",
        "record id",
        "id de inscripcion",
    ),
    "program_id": ("program id", "program code", "codigo del programa", "id del programa"),
    "name": ("program name", "program", "nombre del programa", "programa"),
    "support": ("support", "program type", "type of support", "tipo de apoyo"),
    "capacity": ("capacity", "places", "slots", "cupo"),
    "cost_per_session": ("cost per session", "costo por sesion"),
    "min_grade": ("min grade", "minimum grade", "lowest grade", "grado minimo"),
    "max_grade": ("max grade", "maximum grade", "highest grade", "grado maximo"),
    "start_date": (
        "enrollment date",
        "enrolment date",
        "date enrolled",
        "program start date",
        "start date",
        "entry date",
        "fecha de inscripcion",
        "fecha de inicio",
        "fecha de ingreso",
    ),
    "end_date": (
        "exit date",
        "date exited",
        "program end date",
        "end date",
        "dismissal date",
        "discharge date",
        "withdrawal date",
        "fecha de salida",
        "fecha de egreso",
        "fecha de fin",
    ),
    "exit_reason": (
        "exit reason",
        "reason for exit",
        "reason for dismissal",
        "dismissal reason",
        "discharge reason",
        "reason for leaving",
        "motivo de salida",
        "razon de salida",
        "motivo de egreso",
    ),
    "date": (
        "service date",
        "date of service",
        "session date",
        "delivery date",
        "date of contact",
        "contact date",
        "attendance date",
        "activity date",
        "visit date",
        "date",
        "fecha de servicio",
        "fecha de sesion",
        "fecha de la sesion",
        "fecha",
    ),
    "attended": ("attended", "attendance", "attendance status", "present", "asistio", "asistencia"),
    "minutes": (
        "minutes",
        "total minutes",
        "duration min",
        "duration minutes",
        "duration in minutes",
        "time spent minutes",
        "minutos",
        "duracion min",
        "duracion minutos",
        "duracion en minutos",
    ),
    "hours": (
        "hours",
        "total hours",
        "duration hours",
        "duration hrs",
        "duration in hours",
        "service hours",
        "horas",
        "duracion horas",
        "duracion en horas",
    ),
    "start_time": (
        "start time",
        "begin time",
        "time in",
        "check in time",
        "hora de inicio",
        "hora de entrada",
    ),
    "end_time": ("end time", "time out", "check out time", "hora de fin", "hora de salida"),
}
"""What a mapping may name -> names of columns in exports of Apricot, Efforts to Outcomes and
Salesforce, in English and Spanish, without case, accents and marks."""
_UNCLEAR = {
    "student id": "is it the district's own student number (student_id) or yours (participant_id)?",
    "duration": "is it in minutes (minutes) or in hours (hours)?",
    "duracion": "is it in minutes (minutes) or in hours (hours)?",
    "quantity": "is it in minutes (minutes), in hours (hours), or a number of something else?",
    "time spent": "is it in minutes (minutes) or in hours (hours)?",
    "time spent on contact": "is it in minutes (minutes) or in hours (hours)?",
}
_ALIKE = 0.88
_DATE_FORMATS = (
    "YYYY-MM-DD",
    "MM/DD/YYYY",
    "DD/MM/YYYY",
    "YYYY/MM/DD",
    "MM-DD-YYYY",
    "DD-MM-YYYY",
    "DD.MM.YYYY",
    "MM/DD/YY",
    "DD/MM/YY",
)
_PLAIN_WORDS = {"true", "false", "yes", "no", "y", "n", "t", "f", "1", "0"}
_ATTENDED = {
    "true": (
        "present",
        "attended",
        "yes",
        "y",
        "true",
        "1",
        "p",
        "show",
        "showed",
        "late",
        "tardy",
        "si",
        "sí",
        "presente",
        "asistió",
        "asistio",
        "partial",
    ),
    "false": (
        "absent",
        "no show",
        "no-show",
        "no",
        "n",
        "false",
        "0",
        "a",
        "excused",
        "unexcused",
        "excused absence",
        "unexcused absence",
        "did not attend",
        "ausente",
        "falta",
        "no asistió",
        "no asistio",
    ),
}
_NO_SESSION = (
    "cancelled",
    "canceled",
    "holiday",
    "no session",
    "no class",
    "closed",
    "scheduled",
    "rescheduled",
    "cancelado",
    "cancelada",
    "feriado",
)
_DATES, _TIMES, _NUMBERS = (
    ("start_date", "end_date", "date"),
    ("start_time", "end_time"),
    ("minutes", "hours"),
)
_FEW = 12
_FEW_PROGRAMS = 20
_CLOCK = re.compile(r"(.*[ T])?\d{1,2}:\d{2}(:\d{2})?( ?[AaPp]\.?[Mm]\.?)?")
_NUMBER = re.compile(r"\d+([.,:]\d+)?")


@dataclass(frozen=True)
class ColumnProposal:
    """What one column of an export seems to be. `target` is None when it stays unmapped; `sure`
    says how sure.
    """

    header: str
    target: str | None
    why: str
    sure: str = ""


@dataclass(frozen=True)
class FileProposal:
    """What one file seems to hold. `dates` are the formats that fit; more than one asks for a
    choice.
    """

    file: str
    holds: str | None
    columns: tuple[ColumnProposal, ...]
    dates: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    attended: Mapping[str, str] = field(default_factory=dict)
    no_session: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()

    def header_of(self, target: str) -> str | None:
        """The column that a target is proposed to stand in."""
        return next((one.header for one in self.columns if one.target == target), None)


def propose_file(path: Path) -> FileProposal:
    """Look at a file's header and its first records, and say what it seems to hold.

    Raises:
        SourceRefused: there is no header, or the first line is a record.
    """
    records = iter_readable_rows(path)
    header = next(records)
    rows = list(islice(records, _SAMPLE))
    shapes = {name: _shape([row[place] for row in rows]) for place, name in enumerate(header)}
    if any(_shape([name]).is_value for name in header):
        raise SourceRefused(
            f"{path.name}, line 1: this is a record; the names of the columns must come first"
        )
    return _File(path.name, header, shapes).propose()


def draft_mapping(files: Sequence[FileProposal], organization_id: str | None) -> str:
    """The mapping as a TOML file with its open questions as comments."""
    organization = organization_id or "YOUR-ORGANIZATION"
    lines = [
        (
            "# How this partner's export is read. Each line says: what Handrail calls it = what the"
            " export calls it."
        ),
        (
            "# Answer each question (marked ?), then: handrail load service-history FOLDER"
            " --mapping THIS-FILE"
        ),
        f"organization_id = {_text(organization)}",
    ]
    names = sorted({name for one in files for name in one.programs})
    if names:
        lines += [
            "",
            (
                "# Which program each name in the export is. An agreement names programs by their"
                " program_id."
            ),
            f"# ? For suggestions, add support = one of {', '.join(SUPPORTS)}",
        ]
    for name in names:
        lines += [
            "",
            f"[programs.{_text(name)}]",
            f"program_id = {_text(_slug(f'{organization} {name}'))}",
        ]
    for one in files:
        lines += ["", *_draft_file(one)]
    return "\n".join(lines) + "\n"


def _draft_file(one: FileProposal) -> list[str]:
    questions = [f"# ? {question}" for question in one.questions]
    if one.holds is None:
        return [f"# {one.file} is left out.", *questions]
    lines = [*questions, "[[file]]", f"name = {_text(one.file)}", f"holds = {_text(one.holds)}"]
    if one.dates:
        lines.append(
            f"{'# ' if len(one.dates) > 1 else ''}dates ="
            f" [{', '.join(_text(each) for each in one.dates)}]"
        )
    lines += ["", "[file.columns]"]
    for target in FILE_KINDS[one.holds].columns:
        header = one.header_of(target)
        if target == "session_id" and one.session:
            lines.append(f"session_id = [{', '.join(_text(each) for each in one.session)}]")
        elif header is not None:
            lines.append(f"{target} = {_text(header)}")
    lines += [
        f"# {'never stored' if prohibited_kind(each.header) else 'not read'}: {_text(each.header)}"
        for each in one.columns
        if each.target is None
    ]
    if one.attended:
        lines += [
            "",
            "[file.values.attended]",
            *(f"{_text(word)} = {value}" for word, value in one.attended.items()),
        ]
    if one.no_session:
        lines += [
            "",
            "[file.leave_out]",
            f"attended = [{', '.join(_text(word) for word in one.no_session)}]",
        ]
    return lines


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _slug(text: str) -> str:
    return "-".join(_words(text).split())


def _words(name: str) -> str:
    """A name without case, accents and marks, `EnrollmentDate` as two words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", spaced) if not unicodedata.combining(c)
    )
    return " ".join(re.sub(r"[^a-z0-9]+", " ", plain.lower()).split())


@dataclass(frozen=True)
class _Shape:
    """What the values of one column have in common. `words` are the distinct values, folded, while
    they are few.
    """

    filled: int
    dates: tuple[str, ...]
    clock: bool
    number: bool
    words: Mapping[str, str] | None
    repeats: bool

    @property
    def is_value(self) -> bool:
        return self.filled > 0 and (bool(self.dates) or self.clock or self.number)

    def contradicts(self, target: str) -> str | None:
        """Why the values cannot be what the name says, None if they can."""
        if not self.filled:
            return None
        if target in _DATES and not self.dates:
            return "its values do not look like dates"
        if target in _TIMES and not self.clock:
            return "its values do not look like times of day"
        if target in _NUMBERS and not self.number:
            return "its values are not numbers"
        if target == "attended" and (self.words is None or len(self.words) > _FEW):
            return "it has too many different values for a yes or no"
        if target == "exit_reason" and (self.words is None or len(self.words) > _FEW):
            return (
                "it looks like free text, which may tell more of a child than a reason; map it with"
                " [file.values]"
            )
        return None

    def __str__(self) -> str:
        if not self.filled:
            return "no values in the sample"
        if self.dates:
            return "values look like dates"
        if self.clock:
            return "values look like times of day"
        if self.words is not None and len(self.words) == 2 and set(self.words) <= _PLAIN_WORDS:
            return "values are yes or no"
        if self.number:
            return "values are numbers"
        if self.words is not None and len(self.words) <= _FEW:
            return (
                "all values are the same"
                if len(self.words) == 1
                else f"{len(self.words)} different values"
            )
        return "values are text"


def _shape(values: Iterable[str]) -> _Shape:
    filled = [value.strip() for value in values if value.strip()]
    distinct = dict.fromkeys(filled)
    dates = tuple(
        one for one in _DATE_FORMATS if filled and all(_plausible(one, value) for value in distinct)
    )
    words: dict[str, str] | None = {}
    for value in distinct:
        if words is not None:
            words.setdefault(normalize_word(value), value)
            words = words if len(words) <= _FEW_PROGRAMS else None
    return _Shape(
        len(filled),
        dates,
        bool(filled) and all(_CLOCK.fullmatch(value) for value in distinct),
        bool(filled) and all(_NUMBER.fullmatch(value) for value in distinct),
        words,
        len(distinct) < len(filled),
    )


def _plausible(date_format: str, value: str) -> bool:
    day = FileMapping("", "sessions", {}, (date_format,)).read_date(value)
    return day is not None and date(1980, 1, 1) <= day < date(2100, 1, 1)


class _File:
    """One file while it is looked at."""

    def __init__(self, file: str, header: list[str], shapes: Mapping[str, _Shape]) -> None:
        self.file, self.header, self.shapes = file, header, shapes
        self.questions: list[str] = []

    def propose(self) -> FileProposal:
        hits = {header: _hits(header) for header in self.header if prohibited_kind(header) is None}
        holds = _holds({target for targets, _ in hits.values() for target in targets})
        if holds is None:
            self.ask(
                "it is not clear what this file holds: programs, enrollments, exits or sessions"
            )
            left = tuple(self._left(header) for header in self.header)
            return FileProposal(self.file, None, left, questions=self.asked)
        columns = self._columns(hits, holds)
        found = FileProposal(self.file, holds, columns)
        session = self._session(found) if holds == "sessions" else ()
        attended, no_session = self._attendance(found)
        dates = self._dates(found)
        programs = self._programs(found)
        self._what_lacks(found, session)
        return FileProposal(
            self.file, holds, columns, dates, session, attended, no_session, programs, self.asked
        )

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(self.questions)

    def ask(self, question: str) -> None:
        self.questions.append(f"{self.file}: {question}")

    def _left(self, header: str, why: str = "") -> ColumnProposal:
        kind = prohibited_kind(header)
        if kind is not None:
            return ColumnProposal(header, None, f"never stored ({kind})")
        return ColumnProposal(header, None, why or str(self.shapes[header]))

    def _columns(
        self, hits: Mapping[str, tuple[tuple[str, ...], str]], holds: str
    ) -> tuple[ColumnProposal, ...]:
        chosen: dict[str, list[tuple[str, str]]] = {}
        why_left: dict[str, str] = {}
        for header, (targets, sure) in hits.items():
            if _words(header) in _UNCLEAR:
                self.ask(f"{header!r}: {_UNCLEAR[_words(header)]}")
                why_left[header] = "asked below"
                continue
            possible = _possible(targets, holds)
            if len(possible) > 1:
                self.ask(f"{header!r} may be {' or '.join(possible)}: which?")
                why_left[header] = "asked below"
            elif possible:
                reason = self.shapes[header].contradicts(possible[0])
                if reason is None:
                    chosen.setdefault(possible[0], []).append((header, sure))
                else:
                    why_left[header] = reason
                    self.ask(f"{header!r} is named like {possible[0]}, but {reason}")
        taken: dict[str, tuple[str, str]] = {}
        for target, found in _narrowed(chosen).items():
            if len(found) > 1:
                names = " and ".join(repr(header) for header, _ in found)
                why_left |= {header: "asked below" for header, _ in found}
                self.ask(f"{names} are both named like {target}: which is it?")
            else:
                taken[found[0][0]] = target, found[0][1]
        return tuple(
            (
                ColumnProposal(
                    header,
                    taken[header][0],
                    f"name {'is' if taken[header][1] == 'sure' else 'is like'} one for this;"
                    f" {self.shapes[header]}",
                    taken[header][1],
                )
                if header in taken
                else self._left(header, why_left.get(header, ""))
            )
            for header in self.header
        )

    def _session(self, found: FileProposal) -> tuple[str, ...]:
        """Several columns that together tell a session from all others, where no single one
        does.
        """
        who = found.header_of("participant_id") or found.header_of("student_id")
        named = found.header_of("session_id")
        if who is None or (named is not None and not self.shapes[named].repeats):
            return ()
        if named is not None:
            self.ask(
                f"{named!r} is the same on several rows, so it counts together with {who!r}: is"
                " that right?"
            )
            return named, who
        parts = [who, *(found.header_of(target) for target in ("date", "program_id", "start_time"))]
        told = tuple(part for part in parts if part is not None)
        self.ask(
            f"no column identifies a session, so {', '.join(map(repr, told))} do together: is that"
            " right?"
        )
        return told

    def _attendance(self, found: FileProposal) -> tuple[dict[str, str], tuple[str, ...]]:
        header = found.header_of("attended")
        words = self.shapes[header].words if header is not None else None
        if not words or set(words) <= _PLAIN_WORDS:
            return {}, ()
        meant = {word: value for value, several in _ATTENDED.items() for word in several}
        known = {words[word]: meant[word] for word in words if word in meant}
        no_session = tuple(words[word] for word in words if word in _NO_SESSION)
        unknown = len(words) - len(known) - len(no_session)
        if unknown:
            self.ask(
                f"{header!r} holds words of unknown meaning ({unknown}): add them to"
                " [file.values.attended]"
            )
        return known, no_session

    def _dates(self, found: FileProposal) -> tuple[str, ...]:
        """The formats in which every date column can be read; several only if nothing tells them
        apart.
        """
        shapes = [self.shapes[one.header] for one in found.columns if one.target in _DATES]
        fitting = [shape.dates for shape in shapes if shape.filled]
        shared = [
            one for one in _DATE_FORMATS if fitting and all(one in formats for formats in fitting)
        ]
        if not shared:
            shared = sorted(
                {formats[0] for formats in fitting if len(formats) == 1}, key=_DATE_FORMATS.index
            )
            if len(shared) < len(set(fitting)):
                self.ask("its dates are written in more than one way: put the formats under dates")
        elif len(shared) > 1:
            self.ask(
                f"are its dates written {' or '.join(shared)}? No date in the sample tells: keep"
                " one under dates"
            )
        return tuple(shared)

    def _programs(self, found: FileProposal) -> tuple[str, ...]:
        header = found.header_of("program_id")
        words = self.shapes[header].words if header is not None else None
        named = header is not None and "name" in _hits(header)[0] and found.holds != "programs"
        return tuple(words.values()) if words and named else ()

    def _what_lacks(self, found: FileProposal, session: tuple[str, ...]) -> None:
        assert found.holds is not None
        for group in FILE_KINDS[found.holds].needs:
            if any(found.header_of(target) for target in group) or (
                group == ("session_id",) and session
            ):
                continue
            said = " or ".join(group)
            may = (
                "; is it the same on every row? Then say it under [file.constants]"
                if group[0] in ("attended", "program_id")
                else ""
            )
            self.ask(f"no column was found for {said}, which {found.holds} need{may}")


def _hits(header: str) -> tuple[tuple[str, ...], str]:
    """The things that a column of this name may be, and how sure that is."""
    words = _words(header)
    exact = tuple(target for target, names in _NAMES.items() if words in names)
    if exact or words in _UNCLEAR:
        return exact, "sure"
    close = tuple(
        target for target, names in _NAMES.items() if any(_alike(words, name) for name in names)
    )
    return close, "likely"


def _alike(words: str, name: str) -> bool:
    parts = name.split()
    if len(parts) > 1 and set(parts) <= set(words.split()):
        return True
    return (
        difflib.SequenceMatcher(None, words.replace(" ", ""), name.replace(" ", "")).ratio()
        >= _ALIKE
    )


def _holds(targets: set[str]) -> str | None:
    """What a file with these things in it holds."""
    person = targets & {"student_id", "participant_id"} or "enrollment_id" in targets
    if "date" in targets and (
        targets & {"attended", "minutes", "hours", "start_time"} or "start_date" not in targets
    ):
        return "sessions"
    if "start_date" in targets:
        return "enrollments"
    if "end_date" in targets and person:
        return "exits"
    return "programs" if not person and targets & {"name", "program_id"} else None


def _possible(targets: Sequence[str], holds: str) -> list[str]:
    """Those of the things that such a file may have; a program's name stands for the program where
    people are.
    """
    if holds != "programs":
        targets = tuple("program_id" if target == "name" else target for target in targets)
    return [target for target in dict.fromkeys(targets) if target in FILE_KINDS[holds].columns]


def _narrowed(chosen: Mapping[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Sure names before likely ones, a program's code before its name, the district's number before
    the partner's.
    """
    narrowed = {}
    for target, found in chosen.items():
        if target == "participant_id" and "student_id" in chosen:
            continue
        best = [one for one in found if one[1] == "sure"] or found
        if target == "program_id":
            best = [one for one in best if "program_id" in _hits(one[0])[0]] or best
        narrowed[target] = best
    return narrowed
