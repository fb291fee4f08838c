"""Twelve students over a school year, three partners: enough for alerts, marks, sessions and
somebody out of scope.
"""

from __future__ import annotations

from datetime import date, timedelta

from records.canonical.quarantine import Value

Rows = dict[str, list[dict[str, Value]]]
TODAY = date(2026, 4, 17)
STUDENTS = [f"s{i:02d}" for i in range(1, 13)]
TUTORED = STUDENTS[:6]
"""In the tutors' program; the pantry has s05 to s09; the rest are in nothing."""
FED = STUDENTS[4:9]
CANARY = "Quillfeather"
"""A last name that must stand in no log."""


def rows() -> Rows:
    """Every third student of the first six has many absences; odd ones have low marks."""
    return {
        "schools": [
            {"school_id": "k1", "name": "Harbor School"},
            {"school_id": "k2", "name": "Hill School"},
        ],
        "calendar": [
            {"school_id": school, "date": day, "school_year": 2026}
            for school in ("k1", "k2")
            for day in school_days()
        ],
        "students": [_student(i, student) for i, student in enumerate(STUDENTS)],
        "characteristics": [
            {
                "student_id": student,
                "sex": "female",
                "unstable_housing": i % 2 == 0,
                "meal_eligible": True,
            }
            for i, student in enumerate(STUDENTS)
        ],
        "attendance_events": [
            {
                "student_id": student,
                "school_id": _school(i),
                "date": day,
                "status": "absent_unexcused" if place % 2 else "absent_excused",
            }
            for i, student in enumerate(STUDENTS)
            if i % 3 == 0
            for place, day in enumerate([*school_days()[10:60:5], *school_days()[-5:]])
        ],
        "course_grades": [
            {
                "student_id": student,
                "course": course,
                "school_year": 2026,
                "period": period,
                "date": date(2025, 10, 1) + timedelta(days=80 * (period - 1)),
                "grade": 82.0 - i - 9 * (i % 2) * period,
            }
            for i, student in enumerate(STUDENTS)
            for course in ("Mathematics", "Reading")
            for period in (1, 2, 3)
        ],
        "behavior_incidents": [
            {
                "student_id": "s01",
                "incident_id": "i1",
                "date": date(2026, 3, 2),
                "behavior": "Disruption",
                "action": "Conversation",
            }
        ],
        "assessments": [
            {
                "student_id": student,
                "assessment": "Reading benchmark",
                "date": date(2026, 1, 20),
                "score": 200.0 + i,
                "measure": "scale score",
            }
            for i, student in enumerate(STUDENTS)
        ],
        "programs": [
            {
                "program_id": "p1",
                "organization_id": "tutors",
                "name": "After-school tutoring",
                "support": "tutoring",
            },
            {
                "program_id": "p2",
                "organization_id": "pantry",
                "name": "Weekend bags",
                "support": "food",
            },
            {
                "program_id": "p3",
                "organization_id": "mentors",
                "name": "Weekly mentoring",
                "support": "mentoring",
            },
        ],
        "service_enrollments": [
            *(
                {
                    "student_id": student,
                    "program_id": "p1",
                    "organization_id": "tutors",
                    "start_date": date(2025, 9, 8),
                }
                for student in TUTORED
            ),
            *(
                {
                    "student_id": student,
                    "program_id": "p2",
                    "organization_id": "pantry",
                    "start_date": date(2025, 10, 6),
                }
                for student in FED
            ),
        ],
        "service_sessions": [
            *_sessions("tutors", "p1", TUTORED),
            *_sessions("pantry", "p2", FED),
        ],
    }


def school_days() -> list[date]:
    """Monday to Friday from September 1, 2025 to April 17, 2026, without winter weeks."""
    days = [date(2025, 9, 1) + timedelta(days=place) for place in range(229)]
    return [
        day
        for day in days
        if day.weekday() < 5 and not date(2025, 12, 20) <= day <= date(2026, 1, 4)
    ]


def _student(place: int, student: str) -> dict[str, Value]:
    last = CANARY if place == 0 else f"Lastname{place:02d}"
    return {
        "student_id": student,
        "first_name": f"Given{place:02d}",
        "last_name": last,
        "grade_level": place % 9 + 1,
        "birth_date": date(2013, 7, 21),
        "school_id": _school(place),
    }


def _school(place: int) -> str:
    return "k1" if place % 2 else "k2"


def _sessions(organization: str, program: str, students: list[str]) -> list[dict[str, Value]]:
    return [
        {
            "student_id": student,
            "session_id": f"{organization}-{student}-{day}",
            "program_id": program,
            "organization_id": organization,
            "date": day,
            "attended": day.day % 4 != 0,
            "minutes": 45.0,
        }
        for student in students
        for day in school_days()[-30::6]
    ]
