"""PowerSchool SIS to canonical tables, through the PowerQueries of Handrail's own plugin.

The plugin's queries (`docs/powerschool-plugin`) return rows in the order of `dcid`, each page those
after the last row read: a row that is added or deleted cannot hide another. Where a table records
its last change, only changes are requested; the mirror must then hold as many rows as PowerSchool
counts, so that a deleted row is noticed, and the query is then read completely. Only the columns
named here are requested, and nothing but queries is ever posted.

PowerSchool stores a percentage with every mark, 0 for a mark that has none (pass or fail, a letter
alone, an incomplete). So 0 counts only if the mark itself is 0, or is a failing letter in a course
that has percentages of others; otherwise the mark is left out and counted. This rests on what
districts store, not on PowerSchool's documentation.

Attendance is recorded by days (`ATT_ModeDaily`) or class by class (`ATT_ModeMeeting`); classes
missed become days by the rule of the profile. Which classes a student has on a day is said by the
periods of the day's bell schedule and by the periods and days of the cycle in which a class meets;
classes that PowerSchool excludes from attendance (`Exclude_ADA`) are no part of it. Attendance by
intervals is not read, and named. A student of a track (A to F) is at school on the days of that
track, one without a track on every day in session.

Source: the PowerSchool developer documentation on PowerQueries, and the PowerSchool SIS Data
Dictionary, https://ps.powerschool-docs.com/pssis-data-dictionary/latest/ (Calendar_Day,
PS_Period_Att, Att_DayPart).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from records.canonical.quarantine import BadRow, BadValue, Value, convert, convert_row
from records.canonical.schema import ATTENDANCE_STATUSES, RACE_ETHNICITIES, TABLES
from records.connectors.attendance.classes import ClassAttendance, ClassMissed, Section, is_absence
from records.connectors.attendance.unknown_shares import UnknownShares
from records.connectors.csv_files import quarantine_record, read_csv
from records.connectors.edfi.school_days import calendar_digest
from records.connectors.file_names import find_file
from records.connectors.http.client import (
    RequestRefused,
    Response,
    RestClient,
    RetryPolicy,
    SourceUnavailable,
)
from records.connectors.http.mirror import Mirror, open_complete_mirror, open_mirror, select_fields
from records.connectors.http.settings import ApiSettings
from records.connectors.oneroster.demographics import sex_of
from records.connectors.oneroster.rules import EXTENSION_TABLES, FILES
from records.connectors.partner_files.service_history import read_canonical_file
from records.connectors.profiles.grades import HIGHEST_MARK, NUMBER, MarkTerm, number_of
from records.connectors.profiles.profile import IGNORED, SourceProfile, standard_profile
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

CHANGE_OVERLAP = timedelta(days=1)
"""How far before the last load changes are requested: PowerSchool's dates are in the district's own
time zone."""

FULL_SCAN_AFTER = timedelta(days=7)
"""A full scan once a week: a row that joins two tables is not marked as changed when only the other
table was."""

_MAX_FULL_SCANS = 3
_PROGRESS_EVERY = 5_000
_DISTANT_PAST = "1900-01-01"


@dataclass(frozen=True)
class PowerQuery:
    """One named query of the plugin. Besides `columns` every row has a `dcid`.

    `supports_changed_since`: its core table has a date of last change, and the query takes
    `changed_since`.
    """

    name: str
    columns: tuple[str, ...]
    stays_empty: str
    supports_changed_since: bool = False

    @property
    def path(self) -> str:
        return f"/ws/schema/query/{self.name}"


TRACKS = ("a", "b", "c", "d", "e", "f")
"""The columns of a calendar day that are 1 where the track of that name is at school."""

SCHOOLS = PowerQuery(
    "org.handrail.records.school.schools", ("school_number", "name"), "names of schools"
)
CALENDAR_DAYS = PowerQuery(
    "org.handrail.records.school.days",
    (
        "schoolid",
        "date_value",
        "yearid",
        "membershipvalue",
        "bell_schedule_id",
        "cycle_day_id",
        *TRACKS,
    ),
    "school days (so no rate of absence)",
)
BELLS = PowerQuery(
    "org.handrail.records.school.bells",
    ("bell_schedule_id", "period_id"),
    "which periods a day has (worked out from the absences)",
)
MEETINGS = PowerQuery(
    "org.handrail.records.school.meetings",
    ("schoolid", "sectionid", "periodid", "cycle_day_id"),
    "when a class meets (worked out from the absences)",
)
STUDENTS = PowerQuery(
    "org.handrail.records.student.students",
    (
        "student_number",
        "first_name",
        "last_name",
        "dob",
        "gender",
        "fedethnicity",
        "lunchstatus",
        "grade_level",
        "schoolid",
        "enroll_status",
        "entrydate",
        "exitdate",
        "track",
    ),
    "everything",
    supports_changed_since=True,
)
RACES = PowerQuery(
    "org.handrail.records.student.races", ("student_number", "racecd"), "race and ethnicity"
)
REENROLLMENTS = PowerQuery(
    "org.handrail.records.student.reenrollments",
    ("student_number", "schoolid", "grade_level", "entrydate", "exitdate", "track"),
    "enrollments before the present one",
)
ATTENDANCE = PowerQuery(
    "org.handrail.records.student.attendance",
    (
        "student_number",
        "schoolid",
        "att_date",
        "att_code",
        "presence_status_cd",
        "att_mode_code",
        "periodid",
        "sectionid",
        "exclude_ada",
    ),
    "attendance: no absence can be seen",
)
CLASSES = PowerQuery(
    "org.handrail.records.student.classes",
    ("student_number", "schoolid", "sectionid", "dateenrolled", "dateleft"),
    "how many classes a student has (worked out from the absences)",
)
STORED_GRADES = PowerQuery(
    "org.handrail.records.student.storedgrades",
    ("student_number", "course_name", "termid", "storecode", "datestored", "percent", "grade"),
    "course marks",
    supports_changed_since=True,
)
QUERIES = (
    SCHOOLS,
    CALENDAR_DAYS,
    BELLS,
    MEETINGS,
    STUDENTS,
    RACES,
    REENROLLMENTS,
    CLASSES,
    ATTENDANCE,
    STORED_GRADES,
)

_PLUGIN_VERSION = "1.2"
_NEWEST_QUERIES = (BELLS, MEETINGS, CLASSES)
"""The queries that the plugin has from `_PLUGIN_VERSION` on."""

_OWN_TABLES = (
    "schools",
    "calendar",
    "students",
    "characteristics",
    "school_enrollments",
    "attendance_events",
    "course_grades",
)
_EXTENSION_FILES = {
    file: name for file, name in EXTENSION_TABLES.items() if name not in _OWN_TABLES
}
_CHARACTERISTICS_FILE = "characteristics.csv"
_FLAG_COLUMNS = ("english_learner", "special_education", "unstable_housing")
_YEAR_ZERO_ENDS_IN = 1991
"""PowerSchool counts school years from 1990-91, the year that ends in 1991, as 0."""

_ACTIVE = "0"
_EVER_ENROLLED = (_ACTIVE, "1", "2", "3")
"""Active, inactive, transferred out, graduated; the others are registered for later, or imported
from elsewhere."""

_MEALS = {"F": "true", "R": "true", "FDC": "true", "RDC": "true", "P": "false"}
_DAILY, _MEETING = "ATT_ModeDaily", "ATT_ModeMeeting"
_OF_ONE_CLASS = "class"
"""The part of the day of a late arrival at one class."""

_MARK_OF_ZERO = re.compile(r"0+(\.0*)?\s*%?")


@dataclass(frozen=True)
class DistrictCodes:
    """What a district's own codes for attendance, races and grading periods mean.

    `periods` is empty where the profile says which store codes are grading periods.
    """

    attendance: Mapping[str, str]
    races: Mapping[str, str]
    periods: Mapping[str, int]


@dataclass
class PowerSchool:
    """The connector for one PowerSchool server.

    Options: `attendance`, `races` and `periods` say what the district's codes mean; `extensions`
    names a folder of extension files as OneRoster's, for what the plugin does not bring (tests,
    incidents and three characteristics).
    """

    settings: ApiSettings
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default="powerschool", init=False)
    tables: tuple[str, ...] = field(init=False)
    codes: DistrictCodes = field(init=False)
    profile: SourceProfile = field(
        default_factory=lambda: standard_profile("powerschool"), init=False
    )
    extensions: Path | None = field(init=False)

    def __post_init__(self) -> None:
        options = ("attendance", "races", "periods", "extensions")
        for name in self.settings.options:
            if name not in options:
                raise SourceRefused(
                    f"{self.settings.name}: there is no option {name}; the options of a powerschool"
                    f" source are {', '.join(options)}"
                )
        self.codes = DistrictCodes(
            self._codes("attendance", ATTENDANCE_STATUSES),
            self._codes("races", RACE_ETHNICITIES),
            self._codes("periods", range(1, 13)),
        )
        extensions = self.settings.options.get("extensions")
        self.extensions = None if extensions is None else self.settings.folder / str(extensions)
        if self.extensions is not None and not self.extensions.is_dir():
            raise SourceRefused(
                f"{self.settings.name}: extensions names {self.extensions}, which is not a folder"
            )
        self.tables = _OWN_TABLES + (tuple(_EXTENSION_FILES.values()) if self.extensions else ())

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date. See `ApiConnector`."""
        client = RestClient(
            self.settings.base_url, self.settings.credentials, self.retry_policy, sleep=self.sleep
        )
        with open_mirror(folder) as mirror, client:
            mirror.drop_other_resources(query.name for query in QUERIES)
            for query in sorted(QUERIES, key=lambda query: query is not STUDENTS):
                _Fetch(client, mirror, query, self.settings, progress).bring_up_to_date()

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the mirror in `directory`, and the extension files. See `Connector.read`."""
        with open_complete_mirror(directory, [query.name for query in QUERIES], sink) as mirror:
            for query in QUERIES:
                if "missing" in mirror.sync_state(query.name):
                    sink.missing(query.name, query.stays_empty)
            _PowerSchoolNormalizer(
                mirror, self.codes, self.profile, self.extensions, sink, progress
            ).run()

    def _codes(self, name: str, allowed: Any) -> dict[str, Any]:
        codes = self.settings.options.get(name, {})
        if not isinstance(codes, Mapping):
            raise SourceRefused(
                f"{self.settings.name}: the option {name} must be a table of the district's codes"
            )
        for code, meaning in codes.items():
            if meaning not in allowed:
                raise SourceRefused(
                    f"{self.settings.name}: {name}.{code} is {meaning!r}; it must be one of "
                    f"{', '.join(str(meaning) for meaning in allowed)}"
                )
        return dict(codes)


class _Fetch:
    """Brings the rows of one query up to date."""

    def __init__(
        self,
        client: RestClient,
        mirror: Mirror,
        query: PowerQuery,
        settings: ApiSettings,
        progress: ProgressCallback,
    ) -> None:
        self._client = client
        self._mirror = mirror
        self._query = query
        self._name = query.name
        self._page_size = settings.page_size
        self._progress = progress
        self._total = 0
        self._now = datetime.now(UTC)
        identity = json.dumps([settings.base_url, query.name, query.columns])
        self._source = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def bring_up_to_date(self) -> None:
        """Leave the rows whole in the mirror, or empty and marked as missing.

        Raises:
            SourceUnavailable: the rows kept changing while they were read.
            SourceRefused: students may not be read, or a query that could be read before.
        """
        try:
            self._count()
        except RequestRefused as refusal:
            self._mark_unavailable(refusal)
            return
        unfinished = self._mirror.resume_point(self._name)
        if unfinished is not None and unfinished["source"] == self._source:
            self._run_pass(unfinished)
        since = self._changed_since()
        for _ in range(_MAX_FULL_SCANS):
            if since is None:
                since = (self._now - CHANGE_OVERLAP).date().isoformat()
                self._start_pass(None)
            if self._query.supports_changed_since:
                self._start_pass(since)
            if self._mirror.count(self._name) == self._count():
                self._progress(self._name, self._total, max(self._total, 1))
                return
            since = None
        raise SourceUnavailable(
            f"{self._name}: it changed each time that it was read; PowerSchool counts "
            f"{self._total:,} rows, and {self._mirror.count(self._name):,} could be read. What was "
            "fetched is kept: run the same command again"
        )

    def _mark_unavailable(self, refusal: RequestRefused) -> None:
        if refusal.status not in (403, 404):
            raise refusal
        if self._query is STUDENTS:
            raise SourceRefused(f"{refusal}. Is Handrail's plugin installed and enabled?") from None
        if self._query in _NEWEST_QUERIES and refusal.status == 404:
            raise SourceRefused(
                f"{refusal}. The plugin is older than version {_PLUGIN_VERSION}, which has this"
                " query: without it, classes missed and tracks cannot be read. Install the plugin"
                " that belongs to this version of Handrail"
            ) from None
        self._mirror.mark_unavailable(self._name, {"source": self._source}, refusal)

    def _changed_since(self) -> str | None:
        sync_state = self._mirror.sync_state(self._name) or {}
        oldest = (self._now - FULL_SCAN_AFTER).isoformat()
        is_fresh = sync_state.get("source") == self._source and sync_state.get("swept", "") > oldest
        return str(sync_state["since"]) if self._query.supports_changed_since and is_fresh else None

    def _start_pass(self, since: str | None) -> None:
        sync_state = self._mirror.sync_state(self._name) or {}
        resume_point = {
            "source": self._source,
            "changed_since": since,
            "after": 0,
            "since": (self._now - CHANGE_OVERLAP).date().isoformat(),
            "swept": self._now.isoformat() if since is None else sync_state.get("swept", ""),
        }
        self._mirror.begin(self._name, resume_point, sweeps=since is None)
        self._run_pass(resume_point)

    def _run_pass(self, resume_point: dict[str, Any]) -> None:
        after = int(resume_point["after"])
        while True:
            body = self._arguments(after, resume_point["changed_since"])
            rows = list(
                self._parse_rows(
                    self._client.post_query(self._query.path, {"pagesize": self._page_size}, body),
                    after,
                )
            )
            if not rows:
                break
            after = int(rows[-1][0])
            self._mirror.take_page(self._name, rows, resume_point | {"after": after})
            self._progress(
                self._name,
                min(self._mirror.count_seen(self._name), self._total),
                max(self._total, 1),
            )
        self._mirror.finish(
            self._name, {name: resume_point[name] for name in ("source", "since", "swept")}
        )

    def _parse_rows(self, answer: Response, after: int) -> Iterator[tuple[str, dict[str, Any]]]:
        rows = answer.data.get("record", []) if isinstance(answer.data, Mapping) else None
        if not isinstance(rows, list):
            raise SourceRefused(
                f"{self._name}: the answer holds no list of rows, as a PowerQuery's does"
            )
        last = after
        for row in rows:
            by_name = (
                {str(name).lower(): value for name, value in row.items()}
                if isinstance(row, Mapping)
                else {}
            )
            dcid = str(by_name.get("dcid", ""))
            if not dcid.isdecimal() or int(dcid) <= last:
                raise SourceRefused(
                    f"{self._name}: the rows are not in the order of dcid; install the plugin that "
                    "belongs to this version of Handrail"
                )
            last = int(dcid)
            selected, dropped = select_fields(by_name, dict.fromkeys(self._query.columns, True))
            self._mirror.record_dropped_fields(self._name, dropped)
            yield dcid, {name: value for name, value in selected.items() if value is not None}

    def _count(self) -> int:
        answer = self._client.post_query(f"{self._query.path}/count", body=self._arguments(0, None))
        counted = str(answer.data.get("count")) if isinstance(answer.data, Mapping) else ""
        if not counted.isdecimal():
            raise SourceRefused(f"{self._name}: PowerSchool does not say how many rows there are")
        self._total, self._now = int(counted), answer.server_time
        return self._total

    def _arguments(self, after: int, since: str | None) -> dict[str, Any]:
        return {"after": after} | (
            {"changed_since": since or _DISTANT_PAST} if self._query.supports_changed_since else {}
        )


@dataclass(frozen=True)
class _Row:
    """One row of a query."""

    query: str
    number: int
    body: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.body.get(name)
        return "" if value is None else str(value).strip()


class _PowerSchoolNormalizer:
    """Normalizes the rows of one mirror, with the little that must be remembered between them."""

    def __init__(
        self,
        mirror: Mirror,
        codes: DistrictCodes,
        profile: SourceProfile,
        extensions: Path | None,
        sink: RowSink,
        progress: ProgressCallback,
    ) -> None:
        self.mirror, self.codes, self.extensions = mirror, codes, extensions
        self.profile = profile
        self.sink, self.progress = sink, progress
        self.hispanic: set[str] = set()
        self.races: dict[str, set[str]] = {}
        self.characteristics: dict[str, dict[str, str | None]] = {}
        self.flags: dict[str, dict[str, Value]] = {}
        self.courses_with_percentages: set[str] = set()
        self.zeros: list[_Row] = []
        self.unknown_genders: Counter[str] = Counter()
        self.classes = ClassAttendance(sink, profile)
        self.parts = UnknownShares(sink, profile.source)
        self.calendar = _TrackCalendar(sink)
        self.periods_of_bells: dict[str, set[str]] = defaultdict(set)
        self.other_modes: Counter[str] = Counter()

    def run(self) -> None:
        rules = {
            SCHOOLS: self._school,
            BELLS: self._bell,
            CALENDAR_DAYS: self._day,
            MEETINGS: self._meeting,
            STUDENTS: self._student,
            RACES: self._race,
            REENROLLMENTS: self._reenrollment,
            CLASSES: self._class,
            ATTENDANCE: self._attendance,
            STORED_GRADES: self._grade,
        }
        for query, rule in rules.items():
            for row in self._rows(query):
                self._apply(rule, row)
        for row in self.zeros:
            self._apply(self._zero, row)
        self.classes.finish(self.calendar.finish())
        self.parts.finish()
        for mode, number in self.other_modes.items():
            self.sink.note(
                f"Attendance of the mode {mode or 'without a name'} is not read: {number:,} rows."
                " Absences that a school records in this mode alone cannot be seen."
            )
        if self.unknown_genders:
            named = ", ".join(
                f"{text!r} ({number:,})" for text, number in self.unknown_genders.most_common(8)
            )
            self.sink.note(f"{STUDENTS.name}: gender is not understood: {named}; it stays unknown")
        if not self.codes.races and self.mirror.count(RACES.name):
            self.sink.note(
                "the option races does not say what the district's race codes mean: race stays"
                " empty"
            )
        self._read_flags()
        self._characteristics()
        for file, name in _EXTENSION_FILES.items():
            if (path := self._extension_file(file)) is not None:
                read_canonical_file(path, name, self.sink, self.progress, "userSourcedId")

    def _apply(self, rule: Callable[[_Row], None], row: _Row) -> None:
        try:
            rule(row)
        except BadValue as error:
            raw = json.dumps(dict(row.body), default=str)
            self.sink.quarantine(BadRow(row.query, row.number, error.column, error.reason, raw))

    def _rows(self, query: PowerQuery) -> Iterator[_Row]:
        total, number = self.mirror.count(query.name), 0
        for stored in self.mirror.records(query.name):
            number = stored.number
            if number % _PROGRESS_EVERY == 0:
                self.progress(query.name, number, total)
            yield _Row(query.name, number, stored.body)
        for _ in range(total - number):
            self.sink.ignore(query.name, "of a student whose records were destroyed")
        self.progress(query.name, total, max(total, 1))

    def _add_row(self, table: str, row: _Row, **texts: str | None) -> None:
        self.sink.keep(table, convert_row(TABLES[table], texts), row.query, row.number)

    def _school(self, row: _Row) -> None:
        self._add_row("schools", row, school_id=row.text("school_number"), name=row.text("name"))

    def _bell(self, row: _Row) -> None:
        self.periods_of_bells[row.text("bell_schedule_id")].add(row.text("period_id"))
        self.sink.use(row.query)

    def _meeting(self, row: _Row) -> None:
        section = (row.text("schoolid"), row.text("sectionid"))
        self.classes.meetings.periods[section].add(
            _period_of_cycle(row.text("periodid"), row.text("cycle_day_id"))
        )
        self.sink.use(row.query)

    def _day(self, row: _Row) -> None:
        share = row.text("membershipvalue")
        number = number_of(share) if share else (1.0, False)
        if number is None:
            raise BadValue(
                "membershipvalue",
                f"membershipvalue is {share!r}; it must be the part of a day, from 0 to 1",
            )
        if number[0] == 0:
            self.sink.ignore(row.query, "in session, but no day of membership (MembershipValue 0)")
            return
        values = convert_row(
            TABLES["calendar"],
            {
                "school_id": row.text("schoolid"),
                "date": row.text("date_value"),
                "school_year": _year_end(row, "yearid", 1),
            },
        )
        tracks = {track for track in TRACKS if row.text(track) == "1"}
        self.calendar.add(values, tracks, is_part=number[0] < 1, row=row)
        held = self.periods_of_bells.get(row.text("bell_schedule_id"))
        day = values["date"]
        if held and row.text("cycle_day_id") and isinstance(day, date):
            self.classes.meetings.held[row.text("schoolid"), day].update(
                _period_of_cycle(period, row.text("cycle_day_id")) for period in held
            )

    def _student(self, row: _Row) -> None:
        student, status = row.text("student_number"), row.text("enroll_status")
        if status not in _EVER_ENROLLED:
            self.sink.ignore(
                row.query,
                f"registered for later or imported (enroll_status {status or 'is empty'})",
            )
            return
        enrollment = self.calendar.follow(_enrollment_row(row), row.text("track"))
        self._add_row(
            "students",
            row,
            student_id=student,
            first_name=row.text("first_name"),
            last_name=row.text("last_name"),
            birth_date=row.text("dob"),
            grade_level=_grade_level(row),
            school_id=row.text("schoolid") if status == _ACTIVE else None,
        )
        self.characteristics[student] = {
            "sex": sex_of(row.text("gender"), "gender", self._unknown_gender),
            "meal_eligible": _MEALS.get(row.text("lunchstatus").upper()),
        }
        if row.text("fedethnicity") == "1":
            self.hispanic.add(student)
        if enrollment is not None:
            self.sink.derive("school_enrollments", enrollment, row.query, row.number)

    def _unknown_gender(self, column: str, text: str) -> None:
        self.unknown_genders[text[:30]] += 1

    def _race(self, row: _Row) -> None:
        student, code = row.text("student_number"), row.text("racecd")
        if not self.codes.races:
            self.sink.ignore(row.query, "the option races does not say what the codes mean")
            return
        if code not in self.codes.races:
            raise BadValue("racecd", f"racecd is {code!r}, which the option races does not name")
        self.races.setdefault(student, set()).add(self.codes.races[code])
        self.sink.use(row.query)

    def _reenrollment(self, row: _Row) -> None:
        enrollment = self.calendar.follow(_enrollment_row(row), row.text("track"))
        if enrollment is None:
            self.sink.ignore(row.query, "left before the first day")
        else:
            self.sink.keep("school_enrollments", enrollment, row.query, row.number)

    def _class(self, row: _Row) -> None:
        """One enrollment in a class; PowerSchool's last date is the day after the last day."""
        column = TABLES["school_enrollments"].column("exit_date")
        first = convert(column, row.text("dateenrolled"))
        left = convert(column, row.text("dateleft"))
        if isinstance(first, date) and isinstance(left, date) and left <= first:
            self.sink.ignore(row.query, "left the class before its first day")
            return
        self.classes.enrolled[row.text("student_number")].append(
            (
                _section_of(row),
                first if isinstance(first, date) else None,
                left - timedelta(days=1) if isinstance(left, date) else None,
            )
        )
        self.sink.use(row.query)

    def _attendance(self, row: _Row) -> None:
        mode = row.text("att_mode_code")
        if mode not in (_DAILY, _MEETING):
            self.other_modes[mode] += 1
            self.sink.ignore(row.query, f"attendance of the mode {mode or 'without a name'}")
            return
        in_class = mode == _MEETING
        if in_class and row.text("exclude_ada") == "1":
            self.sink.ignore(row.query, "a class that does not count for attendance (Exclude_ADA)")
            return
        code = row.text("att_code")
        status = self.codes.attendance.get(code)
        share = None
        if status is None and (explained := self.profile.attendance(code)) is not None:
            status, share = explained.status, explained.absent_share
        if status is None and row.text("presence_status_cd").lower() == "present":
            status = "present"
        is_understood = status is not None and (
            in_class or self.parts.says_how_much(code, status, share)
        )
        self.sink.code("attendance_events", "att_code", code, is_understood)
        if status is None:
            raise BadValue(
                "att_code",
                f"att_code is {code!r}, which the option attendance does not name; it must say "
                f"one of {', '.join(ATTENDANCE_STATUSES)}",
            )
        if status == IGNORED or (status == "present" and not in_class):
            self.sink.ignore(row.query, f"present ({code or 'no code'})")
            return
        values = convert_row(
            TABLES["attendance_events"],
            {
                "student_id": row.text("student_number"),
                "school_id": row.text("schoolid"),
                "date": row.text("att_date"),
                "status": status,
                "absent_share": None if share is None or in_class else repr(share),
            },
        )
        if in_class:
            self._attendance_of_class(row, values, status)
        elif self.profile.attendance_by == "section":
            self.sink.ignore(row.query, "attendance by days (the profile says by classes)")
        else:
            if is_absence(status):
                self.classes.missed_by_day(values)
            self.sink.keep("attendance_events", values, row.query, row.number)

    def _attendance_of_class(self, row: _Row, values: dict[str, Value], status: str) -> None:
        student, day = str(values["student_id"]), values["date"]
        assert isinstance(day, date)
        if is_absence(status):
            missed = ClassMissed(student, row.text("schoolid"), day, _section_of(row), status)
            self.classes.add(missed, row.query, row.number)
            return
        if status in ("present", "tardy"):
            self.classes.came_to(student, day, _section_of(row))
        if status != "tardy":
            self.sink.ignore(row.query, f"{status} in one class")
            return
        self.sink.keep("attendance_events", values | {"part": _OF_ONE_CLASS}, row.query, row.number)

    def _grade(self, row: _Row) -> None:
        rules, code, mark = self.profile.grades, row.text("storecode"), row.text("grade")
        period = self._period(code)
        term = rules.term(code) if code else MarkTerm.NOT_FINAL
        is_stated = bool(self.codes.periods) or term not in (None, MarkTerm.GRADING_PERIOD)
        self.sink.code("course_grades", "storecode", code, is_stated or period is not None)
        if period is None:
            self.sink.ignore(row.query, f"not a grading period ({code or 'no store code'})")
        elif not row.text("percent"):
            self.sink.ignore(row.query, "a mark without a percentage")
        elif _MARK_OF_ZERO.fullmatch(row.text("percent")):
            self.zeros.append(row)
        elif rules.is_no_mark(mark):
            self.sink.ignore(row.query, f"no mark on a scale (grade {mark[:10]})")
        else:
            self.courses_with_percentages.add(row.text("course_name"))
            self._add_mark(row)

    def _period(self, code: str) -> str | None:
        """The number of the grading period of a store code; None for a code of anything else.

        The settings' option states the numbers. Without it they are the digits of the codes that
        the profile calls grading periods: T1 is the first.
        """
        if self.codes.periods:
            number = self.codes.periods.get(code)
            return None if number is None else str(number)
        digits = "".join(filter(str.isdigit, code))
        is_period = self.profile.grades.term(code) is MarkTerm.GRADING_PERIOD
        return str(int(digits)) if code and is_period and digits else None

    def _zero(self, row: _Row) -> None:
        """A percentage of 0, once all other marks are known: it stands for no percentage too."""
        mark, rules = row.text("grade").upper(), self.profile.grades
        is_failing = (mark in rules.failing or rules.worth(mark) is not None) and (
            row.text("course_name") in self.courses_with_percentages
        )
        if is_failing or _MARK_OF_ZERO.fullmatch(mark):
            self._add_mark(row)
        else:
            self.sink.ignore(
                row.query,
                f"a mark without a percentage (0 percent stored, grade {mark[:10] or 'is empty'})",
            )

    def _add_mark(self, row: _Row) -> None:
        text = row.text("percent")
        number = number_of(text)
        is_mark = number is not None and 0 <= number[0] <= HIGHEST_MARK
        self.sink.code("course_grades", "percent", NUMBER if is_mark else text, is_mark)
        if number is None or not is_mark:
            raise BadValue("percent", f"percent is {text!r}; it must be from 0 to {HIGHEST_MARK}")
        self._add_row(
            "course_grades",
            row,
            student_id=row.text("student_number"),
            course=row.text("course_name"),
            school_year=_year_end(row, "termid", 100),
            period=self._period(row.text("storecode")),
            date=row.text("datestored"),
            grade=repr(number[0]),
        )

    def _extension_file(self, file: str) -> Path | None:
        path = find_file(self.extensions, file) if self.extensions is not None else None
        if path is not None and path.is_file():
            return path
        self.sink.missing(file, FILES[file].stays_empty or "")
        return None

    def _read_flags(self) -> None:
        """Read the three characteristics that PowerSchool keeps in each state's own tables."""
        if (path := self._extension_file(_CHARACTERISTICS_FILE)) is None:
            return
        columns = [TABLES["characteristics"].column(name) for name in _FLAG_COLUMNS]
        for record in read_csv(
            path, ("userSourcedId",), self.sink, self.progress, known_columns=_FLAG_COLUMNS
        ):
            student = record.fields["userSourcedId"].strip()
            try:
                if student not in self.characteristics:
                    raise BadValue(
                        "userSourcedId", f"no student of {STUDENTS.name} has the number {student!r}"
                    )
                flags = {
                    column.name: convert(column, record.fields.get(column.name))
                    for column in columns
                }
                if self.flags.setdefault(student, flags) != flags:
                    raise BadValue(
                        "userSourcedId", "an earlier line says something else of the same student"
                    )
            except BadValue as error:
                quarantine_record(self.sink, path.name, record, error)
                continue
            self.sink.use(path.name)

    def _characteristics(self) -> None:
        for student, texts in self.characteristics.items():
            races = self.races.get(student, set())
            race = next(iter(races), None)
            if student in self.hispanic:
                race = "hispanic"
            elif len(races) > 1:
                race = "two_or_more"
            values = convert_row(
                TABLES["characteristics"], {"student_id": student, "race_ethnicity": race, **texts}
            )
            flags = {
                name: value
                for name, value in self.flags.get(student, {}).items()
                if value is not None
            }
            if any(
                value is not None
                for name, value in (values | flags).items()
                if name != "student_id"
            ):
                self.sink.derive("characteristics", values | flags, STUDENTS.name, 0)


@dataclass
class _TrackCalendar:
    """The days of each school, and those of each track that an enrollment names.

    Every day in session stands without a code: it is one of a student without a track. A track that
    an enrollment names has its own days under its own code.
    """

    sink: RowSink
    days: list[tuple[dict[str, Value], set[str], str, int]] = field(default_factory=list)
    followed: set[tuple[str, int, str]] = field(default_factory=set)
    part_days: int = 0

    def add(self, values: dict[str, Value], tracks: set[str], *, is_part: bool, row: _Row) -> None:
        """A day in session, and the tracks that are at school on it."""
        self.sink.keep("calendar", values, row.query, row.number)
        self.days.append((values, tracks, row.query, row.number))
        self.part_days += is_part

    def follow(self, enrollment: dict[str, Value] | None, track: str) -> dict[str, Value] | None:
        """An enrollment with the calendar of its track."""
        if enrollment is None or not track:
            return enrollment
        school, year = str(enrollment["school_id"]), int(str(enrollment["school_year"]))
        self.followed.add((school, year, track.lower()))
        return enrollment | {"calendar_code": calendar_digest(school, track.lower())}

    def finish(self) -> Mapping[str, set[date]]:
        """Write the days of the tracks.

        Returns:
            The days of each school.
        """
        held: dict[str, set[date]] = defaultdict(set)
        by_year: dict[tuple[str, int], list[tuple[dict[str, Value], set[str], str, int]]] = (
            defaultdict(list)
        )
        for one in self.days:
            school, day = str(one[0]["school_id"]), one[0]["date"]
            assert isinstance(day, date)
            held[school].add(day)
            by_year[school, int(str(one[0]["school_year"]))].append(one)
        for school, year, track in sorted(self.followed):
            self._write(school, year, track, by_year[school, year])
        if self.part_days:
            self.sink.note(
                f"School days of less than a day of membership (MembershipValue below 1):"
                f" {self.part_days:,}. Each counts as one day, and a student who missed it missed"
                " one."
            )
        return held

    def _write(
        self,
        school: str,
        year: int,
        track: str,
        days: list[tuple[dict[str, Value], set[str], str, int]],
    ) -> None:
        used = set[str]().union(*(tracks for _, tracks, _, _ in days))
        if not used:
            return  # the school's calendar has no tracks: every day is one of each student
        own = [one for one in days if track in one[1]]
        if not own:
            own = [one for one in days if used <= one[1]]
            self.sink.note(
                f"School {school}: students are of track {track.upper()}, which has no school day"
                f" in the year that ends in {year}; their days are those common to its tracks"
                f" ({', '.join(sorted(used)).upper()})"
            )
        code = calendar_digest(school, track)
        for values, _, query, number in own:
            self.sink.derive("calendar", values | {"calendar_code": code}, query, number)


def _period_of_cycle(period: str, cycle_day: str) -> str:
    """A period on one day of the cycle, by which a class meets."""
    return f"{period} on {cycle_day}"


def _section_of(row: _Row) -> Section:
    """The class of a row: a dropped one has a negative number; without one, its period."""
    number = row.text("sectionid").removeprefix("-")
    return row.text("schoolid"), number or f"period {row.text('periodid')}"


def _enrollment_row(row: _Row) -> dict[str, Value] | None:
    """One enrollment at one school; None for a student who never attended.

    PowerSchool's exit date is the day after the last day.
    """
    table = TABLES["school_enrollments"]
    entry = convert(table.column("entry_date"), row.text("entrydate"))
    day_after_exit = convert(table.column("exit_date"), row.text("exitdate"))
    if not isinstance(entry, date) or (
        isinstance(day_after_exit, date) and day_after_exit <= entry
    ):
        return None
    return convert_row(
        table,
        {
            "student_id": row.text("student_number"),
            "school_id": row.text("schoolid"),
            "entry_date": entry.isoformat(),
            "exit_date": (
                (day_after_exit - timedelta(days=1)).isoformat()
                if isinstance(day_after_exit, date)
                else None
            ),
            "school_year": str(entry.year + (entry.month >= 7)),
            "grade_level": _grade_level(row),
        },
    )


def _grade_level(row: _Row) -> str | None:
    """-1 and below are years before kindergarten, 99 is somebody who has graduated."""
    text = row.text("grade_level")
    try:
        level = int(text or "99")
    except ValueError:
        raise BadValue(
            "grade_level", f"grade_level is {text!r}; it must be a whole number"
        ) from None
    return None if level > 13 else str(max(level, -1))


def _year_end(row: _Row, name: str, parts: int) -> str:
    """The calendar year in which a school year ends, from its number or from a term's number.

    `parts` is how many numbers a school year has: 1 for `yearid`, 100 for `termid`.
    """
    text = row.text(name)
    if not text.lstrip("-").isdecimal():
        raise BadValue(name, f"{name} is {text!r}; it must be a whole number")
    return str(abs(int(text)) // parts + _YEAR_ZERO_ENDS_IN)
