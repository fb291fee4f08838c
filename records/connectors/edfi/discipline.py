"""Discipline incidents: who took part, what the school did, and how many days it took.

Records may come in any order, and the standard ties them together in three ways: an action names
incidents (2.x), a student's part in them (3.0 to 3.3), or a student's behavior (3.3 and later).
Victims, witnesses and reporters have no incident of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from records.canonical.quarantine import BadRow, BadValue, Value, convert, convert_row
from records.canonical.schema import TABLES
from records.connectors.edfi.record import SCHOOL, EdFiRecord, student_of
from records.connectors.profiles.grades import plain
from records.connectors.protocol import RowSink

_INCIDENT = ("DisciplineIncidentReference", "DisciplineIncidentIdentity")
_BEHAVIOR_OF_STUDENT = (
    "StudentDisciplineIncidentBehaviorAssociationReference",
    "StudentDisciplineIncidentBehaviorAssociationIdentity",
)
_PART_OF_STUDENT = (
    "StudentDisciplineIncidentAssociationReference",
    "StudentDisciplineIncidentAssociationIdentity",
)
_OFFENDERS = {"perpetrator", "offender", "aggressor"}
_OTHERS = {"victim", "witness", "reporter", "bystander"}
_OLD_PART = "StudentDisciplineIncidentAssociation"


@dataclass(frozen=True, slots=True)
class _Part:
    """A student's part in an incident, with what a quarantined record would show."""

    student: str
    incident: str
    behaviors: tuple[str, ...]
    file: str
    line: int
    raw: str


@dataclass(frozen=True, slots=True)
class _Action:
    """What a school did; `names_parts` if its references say that the student's part is known."""

    student: str
    incidents: tuple[str, ...]
    names_parts: bool
    day: str | None
    responses: tuple[str, ...]
    days: float | None
    file: str = field(compare=False)
    line: int = field(compare=False)
    raw: str = field(compare=False)


@dataclass
class _Row:
    """A student's row of an incident, as it is being put together.

    A record stands for it unless it is a further row of one action.
    """

    file: str
    line: int
    day: str
    behaviors: list[str]
    responses: list[str] = field(default_factory=list)
    days: float | None = None
    repeats: list[tuple[str, int]] = field(default_factory=list)
    is_counted: bool = True


@dataclass
class DisciplineRecords:
    """The discipline records of one source, written once all of them have been read."""

    sink: RowSink
    _dates: dict[str, str] = field(default_factory=dict)
    _behaviors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _parts: list[_Part] = field(default_factory=list)
    _actions: list[_Action] = field(default_factory=list)
    _given: set[_Action] = field(default_factory=set)
    _by_identifier: dict[tuple[str, str], _Action] = field(default_factory=dict)
    _rows: dict[tuple[str, str], _Row] = field(default_factory=dict)

    def add_incident(self, record: EdFiRecord) -> None:
        """Take an incident: its day, and the behavior that it names for all who took part.

        Raises:
            BadValue: it has no identifier.
        """
        incident = _incident_id(record)
        self._dates[incident] = record.text("IncidentDate") or ""
        self._behaviors[incident] = _behaviors(record)
        if record.label:
            self._labels[record.label] = incident
        self.sink.use(record.file)

    def add_part(self, record: EdFiRecord) -> None:
        """Take a student's part in an incident.

        Raises:
            BadValue: it names no student or no incident, or does not say what the part was.
        """
        student, incident = student_of(record), _incident_of(record)
        if not _is_offender(record):
            self.sink.ignore(record.file, f"{record.kind} of a victim, witness or reporter")
            return
        raw = f"{record.kind}: {record.redacted_text()}"
        self._parts.append(
            _Part(student, incident, _behaviors(record), record.file, record.line, raw)
        )

    def add_action(self, record: EdFiRecord) -> None:
        """Take a school's action. One that is given twice, even under two identifiers, counts once:
        the same response to the same incidents from the same day on.

        Raises:
            BadValue: its length is no number of days, or another action has its identifier.
        """
        incidents, names_parts = _incidents_of_action(record)
        action = _Action(
            student_of(record),
            incidents or ("",),
            names_parts or not incidents,
            record.text("DisciplineDate"),
            tuple(
                code
                for discipline in record.children("Discipline")
                if (code := discipline.code("Discipline"))
            ),
            _days(record),
            record.file,
            record.line,
            f"{record.kind}: {record.redacted_text()}",
        )
        identifier = record.text("DisciplineActionIdentifier") or ""
        earlier = self._by_identifier.setdefault((action.student, identifier), action)
        if identifier and earlier != action:
            raise BadValue(
                "DisciplineActionIdentifier",
                f"another DisciplineAction of this student has the identifier {identifier!r} and"
                " other values",
            )
        if action in self._given and (identifier or action.day):
            self.sink.ignore(record.file, "DisciplineAction that was given before")
            return
        self._given.add(action)
        self._actions.append(action)

    def finish(self) -> None:
        """Write one row for each student and incident."""
        for part in self._parts:
            self._join_part(part)
        for action in self._actions:
            self._join_action(action)
        for (student, incident), row in self._rows.items():
            values = self._values(student, incident, row)
            add = self.sink.keep if row.is_counted else self.sink.derive
            add("behavior_incidents", values, row.file, row.line)
            for file, line in row.repeats:
                self.sink.keep("behavior_incidents", values, file, line)

    def _join_part(self, part: _Part) -> None:
        incident = self._labels.get(part.incident, part.incident)
        key, day = (part.student, incident), self._dates.get(incident)
        known = self._rows.get(key)
        try:
            if day is None:
                raise BadValue(
                    "DisciplineIncidentReference", f"there is no DisciplineIncident {incident!r}"
                )
            behaviors = list(part.behaviors or self._behaviors[incident])
            row = _Row(part.file, part.line, day, behaviors)
            self._values(part.student, incident, row)
        except BadValue as error:
            bad_row = BadRow(part.file, part.line, error.column, error.reason, part.raw)
            self.sink.quarantine(bad_row)
            return
        if known is None:
            self._rows[key] = row
        elif set(row.behaviors) <= set(known.behaviors):
            known.repeats.append((part.file, part.line))
        else:
            _add_new(known.behaviors, row.behaviors)
            self.sink.use(part.file)

    def _join_action(self, action: _Action) -> None:
        """Give an action to its incidents, and its days to the first of them alone."""
        incidents = [self._labels.get(incident, incident) for incident in action.incidents]
        keys = [(action.student, incident) for incident in dict.fromkeys(incidents)]
        missing = [key for key in keys if key not in self._rows]
        try:
            self._rows |= {
                key: self._row_of_action(action, key[1], is_counted=key == missing[0])
                for key in missing
            }
        except BadValue as error:
            bad_row = BadRow(action.file, action.line, error.column, error.reason, action.raw)
            self.sink.quarantine(bad_row)
            return
        for number, key in enumerate(sorted(keys, key=lambda key: (self._rows[key].day, key[1]))):
            row = self._rows[key]
            _add_new(row.responses, action.responses)
            if number == 0 and action.days is not None and _may_remove(action.responses):
                row.days = (row.days or 0) + action.days
        if not missing:
            self.sink.use(action.file)

    def _row_of_action(self, action: _Action, incident: str, *, is_counted: bool) -> _Row:
        """The row of an incident of which an action alone says that the student took part.

        Raises:
            BadValue: the action's references say that the student's part is on record, and it is
                not; or the incident is not.
        """
        if not incident:
            raise BadValue(
                _BEHAVIOR_OF_STUDENT[0], "the action names no incident, and a row needs one"
            )
        if action.names_parts:
            raise BadValue(
                _BEHAVIOR_OF_STUDENT[0],
                f"the action names incident {incident!r}, which this student has no part in",
            )
        if incident not in self._dates:
            raise BadValue(
                "DisciplineIncidentReference", f"there is no DisciplineIncident {incident!r}"
            )
        day, behaviors = self._dates[incident], list(self._behaviors[incident])
        row = _Row(action.file, action.line, day, behaviors, is_counted=is_counted)
        self._values(action.student, incident, row)
        return row

    def _values(self, student: str, incident: str, row: _Row) -> dict[str, Value]:
        texts = {
            "student_id": student,
            "incident_id": incident,
            "date": row.day,
            "behavior": "; ".join(row.behaviors) or None,
            "action": "; ".join(row.responses) or None,
            "days_removed": None if row.days is None else str(row.days),
        }
        return convert_row(TABLES["behavior_incidents"], texts)


def _incidents_of_action(record: EdFiRecord) -> tuple[tuple[str, ...], bool]:
    """The incidents that an action names, and whether by the student's part in them."""
    for identity in (_BEHAVIOR_OF_STUDENT, _PART_OF_STUDENT):
        found = [_incident_of(child, *identity) for child in record.children(identity[0])]
        if found:
            return tuple(dict.fromkeys(found)), True
    found = [_incident_of(child) for child in record.children(_INCIDENT[0])]
    return tuple(dict.fromkeys(found)), False


def _is_offender(record: EdFiRecord) -> bool:
    """Whether the student is one whose behavior it was.

    Raises:
        BadValue: an old association has a participation code that is not understood.
    """
    codes = {plain(code) for code in _participation_codes(record)}
    if codes & _OFFENDERS:
        return True
    if codes and codes <= _OTHERS:
        return False
    if record.kind == _OLD_PART and (codes or not _behaviors(record)):
        raise BadValue(
            "StudentParticipationCode",
            f"StudentParticipationCode is {record.code('StudentParticipationCode')!r}; it must be"
            " one of Perpetrator, Victim, Witness, Reporter",
        )
    return True


def _participation_codes(record: EdFiRecord) -> Iterator[str]:
    name = "DisciplineIncidentParticipationCode"
    for code in (
        record.code("StudentParticipationCode"),
        *(child.code(name) for child in record.children(name)),
    ):
        if code:
            yield code


def _behaviors(record: EdFiRecord) -> tuple[str, ...]:
    """The codes of its behaviors: bare, or each inside an element of its own."""
    inside = [
        child.code("Behavior", "Behavior") or child.code("Behavior")
        for child in record.children("Behavior")
    ]
    codes = [code for code in inside or [record.code("Behavior")] if code]
    return tuple(dict.fromkeys(codes))


def _days(record: EdFiRecord) -> float | None:
    column = TABLES["behavior_incidents"].column("days_removed")
    for name in ("ActualDisciplineActionLength", "DisciplineActionLength"):
        text = record.text(name)
        if not text:
            continue
        try:
            days = float(convert(column, text))  # type: ignore[arg-type]
        except BadValue:
            days = -1.0
        if days < 0:
            raise BadValue(name, f"{name} is {text!r}; it must be a number of days")
        return days
    return None


def _incident_of(record: EdFiRecord, *within: str) -> str:
    label = record.reference_label(*within, _INCIDENT[0])
    return label or _incident_id(record, *within, *_INCIDENT)


def _incident_id(record: EdFiRecord, *within: str) -> str:
    identifier = record.text(*within, "IncidentIdentifier")
    if not identifier:
        raise BadValue("IncidentIdentifier", "IncidentIdentifier is empty, and a row needs it")
    return f"{identifier}_{record.text(*within, *SCHOOL)}"


_IN_CLASS = (
    "detention",
    "community service",
    "counsel",
    "warning",
    "conference",
    "privilege",
    "restitution",
    "contact",
    "no action",
)
_REMOVED = ("suspen", "expul", "remov")


def _may_remove(responses: Iterable[str]) -> bool:
    """Whether a response may take a student out of class: detention and the like do not."""
    words = " ".join(responses).casefold()
    return any(word in words for word in _REMOVED) or not any(word in words for word in _IN_CLASS)


def _add_new(known: list[str], more: list[str] | tuple[str, ...]) -> None:
    known.extend(code for code in more if code not in known)
