"""A small made-up roster in the words of OneRoster's CSV tables, which changes, and is written out
in either version.

A roster is file -> identifier -> fields. Users have `role` and `orgSourcedIds` as version 1.1 has
them; version 1.2 writes them to roles.csv.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Mapping
from pathlib import Path
from random import Random

Fields = dict[str, str]
Roster = dict[str, dict[str, Fields]]

HEADERS = {
    "orgs.csv": "name,type,parentSourcedId",
    "academicSessions.csv": "title,type,startDate,endDate,schoolYear",
    "users.csv": (
        "enabledUser,orgSourcedIds,role,username,givenName,familyName,email,grades,password,"
        "identifier,userMasterIdentifier,userIds"
    ),
    "demographics.csv": "birthDate,sex,asian,white,hispanicOrLatinoEthnicity,countryOfBirthCode",
    "courses.csv": "title,courseCode",
    "classes.csv": "title,grades,courseSourcedId,schoolSourcedId,termSourcedIds",
    "enrollments.csv": "classSourcedId,schoolSourcedId,userSourcedId,role,beginDate,endDate",
    "lineItems.csv": "title,classSourcedId,dueDate,resultValueMax",
    "results.csv": (
        "lineItemSourcedId,studentSourcedId,score,comment,scoreStatus,textScore,inProgress,missing"
    ),
    "roles.csv": "userSourcedId,roleType,role,beginDate,endDate,orgSourcedId",
}
STAMP = "2026-01-15T08:00:00.000Z"


def roster(students: int = 6) -> Roster:
    made: Roster = {
        "orgs.csv": {
            "k1": {"name": "North School", "type": "school"},
            "k2": {"name": "South School", "type": "school"},
            "d1": {"name": "District", "type": "district"},
        },
        "academicSessions.csv": {
            "y": {
                "title": "2025-2026",
                "type": "schoolYear",
                "startDate": "2025-08-18",
                "endDate": "2026-05-29",
                "schoolYear": "2026",
            }
        },
        "users.csv": {"t1": _user("Terry", "Ng", "teacher", "k1", "")},
        "demographics.csv": {},
        "courses.csv": {"m": {"title": "Algebra I", "courseCode": "MA1"}},
        "classes.csv": {
            f"c{n}": {
                "title": f"Class {n}",
                "grades": f"0{5 + n}",
                "courseSourcedId": "m" * (n == 1),
                "schoolSourcedId": f"k{n}",
            }
            for n in (1, 2)
        },
        "enrollments.csv": {"e-t1": _enrollment("t1", 1, "teacher")},
        "lineItems.csv": {
            "w1": {
                "title": "Quiz 1",
                "classSourcedId": "c1",
                "dueDate": "2025-10-03",
                "resultValueMax": "20",
            }
        },
        "results.csv": {},
    }
    for number in range(students):
        add_student(made, f"s{number}", 1 + number % 2)
    return made


def add_student(made: Roster, student: str, school: int) -> None:
    made["users.csv"][student] = _user(
        f"First{student}", f"Last{student}", "student", f"k{school}", f"0{5 + school}"
    )
    made["demographics.csv"][student] = {
        "birthDate": "2014-03-02",
        "sex": "female",
        "asian": "true",
    }
    made["enrollments.csv"][f"e-{student}"] = _enrollment(student, school, "student")
    made["results.csv"][f"r-{student}"] = {
        "lineItemSourcedId": "w1",
        "studentSourcedId": student,
        "score": "15",
    }


def change(made: Roster, rng: Random) -> Roster:
    """The roster after one of the things that happen in a district."""
    after = copy.deepcopy(made)
    students = sorted(id_ for id_, user in after["users.csv"].items() if user["role"] == "student")
    kind = rng.choice(["arrive", "leave", "rename", "move", "mark", "unmark", "retitle"])
    if kind == "arrive" or not students:
        add_student(after, f"n{rng.randrange(10_000)}", rng.choice((1, 2)))
        return after
    student = rng.choice(students)
    if kind == "leave":
        for records in after.values():
            for id_ in [
                id_ for id_, fields in records.items() if student in (id_, *fields.values())
            ]:
                del records[id_]
    elif kind == "rename":
        after["users.csv"][student] |= {
            "familyName": f"Renamed{rng.randrange(100)}",
            "grades": "07",
        }
    elif kind == "move":
        after["users.csv"][student]["orgSourcedIds"] = "k2"
        after["enrollments.csv"][f"e-{student}"]["endDate"] = "2025-12-19"
        after["enrollments.csv"][f"e2-{student}"] = _enrollment(student, 2, "student") | {
            "beginDate": "2026-01-05"
        }
    elif kind == "mark":
        after["results.csv"][f"r-{student}"] = {
            "lineItemSourcedId": "w1",
            "studentSourcedId": student,
            "score": str(rng.randrange(21)),
        }
    elif kind == "unmark":
        after["results.csv"].pop(f"r-{student}", None)
    else:
        after["courses.csv"]["m"]["title"] = f"Algebra {rng.randrange(9)}"
    return after


def write_csv(
    made: Roster,
    folder: Path,
    *,
    version: str = "1.2",
    since: Roster | None = None,
    bulk: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
) -> Path:
    """Write the roster as a bulk export, or with `since` as a delta except for the `bulk` files."""
    folder.mkdir(parents=True)
    new, old = (
        with_roles(roster_given) if version == "1.2" else roster_given
        for roster_given in (made, since or {})
    )
    modes = {}
    for file in new:
        if file in absent:
            continue
        is_delta = since is not None and file not in bulk
        rows = (
            _changes(new[file], old[file])
            if is_delta
            else {id_: ("", fields) for id_, fields in new[file].items()}
        )
        modes[file] = "delta" if is_delta else "bulk"
        _write(folder / file, file, version, rows)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        manifest = csv.writer(stream)
        manifest.writerows(
            [("propertyName", "value"), ("manifest.version", "1.0"), ("oneroster.version", version)]
        )
        manifest.writerows(
            (f"file.{file.removesuffix('.csv')}", mode) for file, mode in modes.items()
        )
        manifest.writerows(
            (f"file.{file.removesuffix('.csv')}", "absent")
            for file in (*absent, "userProfiles.csv")
        )
    return folder


def with_roles(made: Roster) -> Roster:
    """The roster as version 1.2 has it: what a user is, and where, in a file of its own."""
    if not made:
        return made
    after = copy.deepcopy(made) | {"roles.csv": {}}
    for id_, user in after["users.csv"].items():
        after["roles.csv"][f"role-{id_}"] = {
            "userSourcedId": id_,
            "roleType": "primary",
            "role": user.pop("role"),
            "orgSourcedId": user.pop("orgSourcedIds"),
        }
    return after


def _changes(new: Mapping[str, Fields], old: Mapping[str, Fields]) -> dict[str, tuple[str, Fields]]:
    gone = {id_: ("tobedeleted", fields) for id_, fields in old.items() if id_ not in new}
    return gone | {id_: ("active", fields) for id_, fields in new.items() if old.get(id_) != fields}


def _write(path: Path, file: str, version: str, rows: Mapping[str, tuple[str, Fields]]) -> None:
    columns = HEADERS[file].split(",")
    if version == "1.2" and file == "users.csv":
        columns = [column for column in columns if column not in ("role", "orgSourcedIds")]
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["sourcedId", "status", "dateLastModified", *columns])
        for id_, (status, fields) in rows.items():
            out.writerow(
                [
                    id_,
                    status,
                    STAMP if status else "",
                    *(fields.get(column, "") for column in columns),
                ]
            )


def _user(first: str, last: str, role: str, school: str, grade: str) -> Fields:
    return {
        "givenName": first,
        "familyName": last,
        "role": role,
        "orgSourcedIds": school,
        "grades": grade,
    }


def _enrollment(user: str, number: int, role: str) -> Fields:
    return {
        "userSourcedId": user,
        "classSourcedId": f"c{number}",
        "schoolSourcedId": f"k{number}",
        "role": role,
        "beginDate": "2025-08-18",
        "endDate": "",
    }
