"""A PowerSchool server on this machine that runs the queries of Handrail's own plugin over a small
database.

It reads the plugin as PowerSchool does: the columns of a row are those that the query declares, in
that order, and a query of a column that the plugin has no access to is answered with 403.
"""

from __future__ import annotations

import json
import re
import sqlite3
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from records.connectors.http.settings import ApiSettings
from records.connectors.powerschool import PowerSchool
from tests.records.fake_http_server import QUICK, FakeHttpServer, Reply

PLUGIN = Path(__file__).parents[2] / "docs" / "powerschool-plugin"
CODES = {
    "attendance": {"A": "absent_unexcused", "E": "absent_excused", "T": "tardy"},
    "races": {"W": "white", "B": "black", "S": "asian"},
}
LONG_AGO = timedelta(days=10)
TABLES = {
    "schools": "school_number, name, address1",
    "terms": "schoolid, yearid, isyearrec, firstday, lastday",
    "calendar_day": (
        "schoolid, date_value, insession, membershipvalue, bell_schedule_id, cycle_day_id,"
        " a, b, c, d, e, f"
    ),
    "bell_schedule_items": "bell_schedule_id, period_id",
    "section_meeting": "schoolid, sectionid, year_id, period_number, cycle_day_letter",
    "period": "id, schoolid, year_id, period_number",
    "cycle_day": "id, schoolid, year_id, letter",
    "sections": "id, exclude_ada",
    "cc": "id, studentid, schoolid, sectionid, dateenrolled, dateleft",
    "students": (
        "id, student_number, first_name, last_name, dob, gender, fedethnicity, lunchstatus,"
        " grade_level, schoolid, enroll_status, entrydate, exitdate, track, ssn, street,"
        " transaction_date"
    ),
    "studentrace": "studentid, racecd",
    "reenrollments": "studentid, schoolid, grade_level, entrydate, exitdate, track",
    "attendance_code": "id, att_code, presence_status_cd",
    "attendance": (
        "studentid, schoolid, att_date, att_mode_code, attendance_codeid, periodid, ccid,"
        " att_comment"
    ),
    "storedgrades": (
        "studentid, course_name, termid, storecode, datestored, percent, grade, comment_value,"
        " transaction_date"
    ),
}


class FakePowerSchool(FakeHttpServer):
    """A fake PowerSchool server.

    `refused_queries` maps queries that these credentials may not run to their status;
    `after_answer` is called after each answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.row_factory = sqlite3.Row
        self.database.create_function("to_date", 2, lambda text, form: text)
        for table, columns in TABLES.items():
            self.database.execute(
                f"CREATE TABLE {table} (dcid INTEGER PRIMARY KEY AUTOINCREMENT, {columns})"
            )
        self.queries = {
            query.attrib["name"]: query
            for query in read_plugin("queries_root/handrail.named_queries.xml")
        }
        self.access = {
            f"{element.attrib['table']}.{element.attrib['field']}"
            for element in read_plugin("plugin.xml").iter()
            if element.tag.endswith("field")
        }
        self.refused_queries: dict[str, int] = {}
        self.more: dict[str, Any] = {}
        self.after_answer: Callable[[], None] = lambda: None
        self.written = datetime.now(UTC)

    def add(self, table: str, **values: Any) -> int:
        if "transaction_date" in TABLES[table]:
            values["transaction_date"] = self.written.strftime("%Y-%m-%d %H:%M:%S")
        names, places = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608
        made = self.database.execute(sql, tuple(values.values()))
        return int(made.lastrowid or 0)

    def change(self, table: str, where: str, **values: Any) -> None:
        if "transaction_date" in TABLES[table]:
            values["transaction_date"] = self.written.strftime("%Y-%m-%d %H:%M:%S")
        named = ", ".join(f"{name} = ?" for name in values)
        self.database.execute(f"UPDATE {table} SET {named} WHERE {where}", tuple(values.values()))  # noqa: S608

    def delete(self, table: str, where: str) -> None:
        self.database.execute(f"DELETE FROM {table} WHERE {where}")  # noqa: S608

    def rows(self, name: str) -> dict[str, dict[str, Any]]:
        """Everything that a query gives, by dcid."""
        result = self._run(name, {"after": 0, "changed_since": "1900-01-01"})
        return {str(row.pop("dcid")): row for row in result}

    def connector(self, page_size: int = 3, **options: Any) -> PowerSchool:
        options = CODES | options
        settings = ApiSettings(
            "powerschool", "north", self.url, self.credentials(), page_size, options, Path()
        )
        return PowerSchool(settings, QUICK, sleep=lambda seconds: None)

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        match = re.fullmatch(r"/ws/schema/query/([a-z.]+)(/count)?", path)
        if method != "POST" or match is None or match[1] not in self.queries:
            return Reply({"message": "not found"}, 404)
        if match[1] in self.refused_queries or not self.may_read(match[1]):
            return Reply({"message": "no access"}, self.refused_queries.get(match[1], 403))
        rows = self._run(match[1], json.loads(body))
        if match[2]:
            return Reply({"count": len(rows)})
        size, page = int(params.get("pagesize", 100)), int(params.get("page", 1))
        rows = rows[(page - 1) * size : page * size]
        self.after_answer()
        given = [
            {name: str(value) for name, value in row.items() if value is not None} | self.more
            for row in rows
        ]
        return Reply(
            {"name": match[1]} | ({"record": given} if given else {}) | {"@extensions": ""}
        )

    def _run(self, name: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        query = self.queries[name]
        declared = {arg.attrib["name"] for arg in query.iter("arg")}
        assert declared <= set(arguments), "an argument that the query requires is not given"
        columns = [str(column.text) for column in query.iter("column")]
        sql = query.findtext("sql") or ""
        rows = self.database.execute(sql, {name: arguments[name] for name in declared}).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def may_read(self, name: str) -> bool:
        sql = self.queries[name].findtext("sql") or ""
        return (
            fields_in(sql)
            | {str(column.attrib["column"]) for column in self.queries[name].iter("column")}
            <= self.access
        )


def fields_in(sql: str) -> set[str]:
    return {
        f"{table}.{column}".upper()
        for table, column in re.findall(r"\b([a-z_]+)\.([a-z_]+)\b", sql)
    }


def read_plugin(file: str) -> ElementTree.Element:
    return ElementTree.parse(PLUGIN / file).getroot()


def fill(server: FakePowerSchool, students: int = 6) -> None:
    server.written = datetime.now(UTC) - LONG_AGO
    for number, name in (
        (1, "North School"),
        (2, "South School"),
        (999999, "Graduated Students"),
        (0, "District"),
    ):
        server.add("schools", school_number=number, name=name, address1="CANARY street")
        server.add(
            "terms",
            schoolid=number,
            yearid=35,
            isyearrec=1,
            firstday="2025-08-18",
            lastday="2026-05-29",
        )
        server.add(
            "terms",
            schoolid=number,
            yearid=35,
            isyearrec=0,
            firstday="2025-08-18",
            lastday="2025-12-19",
        )
    for day in range(1, 6):
        for school in (1, 2):
            server.add(
                "calendar_day",
                schoolid=school,
                date_value=f"2025-09-0{day}",
                insession=int(day != 1),
                membershipvalue=1,
                bell_schedule_id=school,
                cycle_day_id=school,
            )
    for school in (1, 2):
        add_timetable(server, school)
    for code, (letter, presence) in enumerate(
        (("A", "Absent"), ("T", "Present"), (None, "Present"), ("X", "Absent"))
    ):
        server.add("attendance_code", id=code, att_code=letter, presence_status_cd=presence)
    for number in range(students):
        add_student(server, number)
    server.written = datetime.now(UTC)


def add_timetable(server: FakePowerSchool, school: int, letters: str = "A") -> None:
    """Four periods a day on each day of the cycle, and a class in each of them.

    The ids are 10 times the school's, and from there on: periods by their number, and classes by
    the day of the cycle too. A day of the cycle has the school's number and its place.
    """
    for number in range(1, 5):
        server.add(
            "period", id=10 * school + number, schoolid=school, year_id=35, period_number=number
        )
        server.add("bell_schedule_items", bell_schedule_id=school, period_id=10 * school + number)
    for place, letter in enumerate(letters):
        server.add("cycle_day", id=school + 10 * place, schoolid=school, year_id=35, letter=letter)
        for number in range(1, 5):
            section = 100 * school + 10 * place + number
            server.add("sections", id=section, exclude_ada=0)
            server.add(
                "section_meeting",
                schoolid=school,
                sectionid=section,
                year_id=35,
                period_number=number,
                cycle_day_letter=letter,
            )


def take_classes(server: FakePowerSchool, student: int, school: int, *sections: int) -> None:
    """Enroll a student in classes for the year."""
    for section in sections:
        server.add(
            "cc",
            id=1000 * student + section,
            studentid=student,
            schoolid=school,
            sectionid=section,
            dateenrolled="2025-08-18",
            dateleft="2026-05-30",
        )


def miss_class(server: FakePowerSchool, student: int, day: str, section: int, code: int) -> None:
    """An entry of one class, by the code's id."""
    school = section // 100
    server.add(
        "attendance",
        studentid=student,
        schoolid=school,
        att_date=day,
        att_mode_code="ATT_ModeMeeting",
        attendance_codeid=code,
        periodid=10 * school + section % 10,
        ccid=1000 * student + section,
    )


def add_student(server: FakePowerSchool, number: int) -> None:
    school = 1 + number % 2
    server.add(
        "students",
        id=1000 + number,
        student_number=700 + number,
        first_name=f"First{number}",
        last_name=f"Last{number}",
        dob="2014-03-02",
        gender="FMX"[number % 3],
        fedethnicity=int(number == 5),
        lunchstatus="FP"[number % 2],
        grade_level=5 + school,
        schoolid=school,
        enroll_status=0,
        entrydate="2025-08-18",
        exitdate="2026-05-30",
        ssn="123-45-6789",
        street="CANARY street",
    )
    server.add("studentrace", studentid=1000 + number, racecd="WBS"[number % 3])
    if number % 3 == 0:
        server.add("studentrace", studentid=1000 + number, racecd="S")
        server.add(
            "reenrollments",
            studentid=1000 + number,
            schoolid=2,
            grade_level=5,
            entrydate="2024-08-19",
            exitdate="2025-05-31",
        )
    take_classes(server, 1000 + number, school, 100 * school + 1, 100 * school + 2)
    for day, code, mode in (
        (2, 0, "ATT_ModeDaily"),
        (3, 1, "ATT_ModeDaily"),
        (3, 0, "ATT_ModeMeeting"),
    ):
        server.add(
            "attendance",
            studentid=1000 + number,
            schoolid=school,
            att_date=f"2025-09-0{day}",
            att_mode_code=mode,
            attendance_codeid=code,
            att_comment="CANARY: was ill",
        )
    server.add(
        "storedgrades",
        studentid=1000 + number,
        course_name="Algebra I",
        termid=3501,
        storecode="Q1",
        datestored="2025-10-17",
        percent=80 + number,
        grade="B",
        comment_value="CANARY",
    )


def random_change(server: FakePowerSchool, rng: Random) -> None:
    """One of the things that happen in a district, for a student who may already have gone."""
    student = 1000 + rng.randrange(8)
    kind = rng.choice(["arrive", "leave", "rename", "absent", "present", "regrade", "ungrade"])
    if kind == "arrive":
        add_student(server, rng.randrange(10, 10_000))
    elif kind == "leave":
        server.delete("students", f"id = {student}")
        for table in ("studentrace", "reenrollments", "attendance", "cc", "storedgrades"):
            server.delete(table, f"studentid = {student}")
    elif kind == "rename":
        server.change("students", f"id = {student}", last_name=f"Renamed{rng.randrange(100)}")
    elif kind == "absent":
        server.add(
            "attendance",
            studentid=student,
            schoolid=1,
            att_date=f"2025-10-{rng.randrange(10, 30)}",
            att_mode_code="ATT_ModeDaily",
            attendance_codeid=0,
        )
    elif kind == "present":
        server.delete("attendance", f"studentid = {student} AND att_date = '2025-09-02'")
    elif kind == "regrade":
        server.change("storedgrades", f"studentid = {student}", percent=rng.randrange(100))
    else:
        server.delete("storedgrades", f"studentid = {student}")
