"""Six students and two partners: for every access rule one it admits and one it does not."""

from __future__ import annotations

from datetime import date

from records.canonical.quarantine import Value

Rows = dict[str, list[dict[str, Value]]]


def rows() -> Rows:
    """s1 and s2 are enrolled in p1 of the tutors, s3 was; s4 is enrolled in p2 of the pantry.

    s1 is enrolled in p2 too; s5 and s6 are in no program.
    """
    students: list[dict[str, Value]] = [
        {
            "student_id": f"s{i}",
            "first_name": f"First{i}",
            "last_name": f"Last{i}",
            "grade_level": i,
            "birth_date": date(2014, 1, i),
            "school_id": "k1",
        }
        for i in range(1, 7)
    ]
    return {
        "schools": [{"school_id": "k1", "name": "Harbor School"}],
        "students": students,
        "characteristics": [
            {
                "student_id": f"s{i}",
                "sex": "female",
                "unstable_housing": i % 2 == 0,
                "meal_eligible": True,
            }
            for i in range(1, 7)
        ],
        "attendance_events": [
            {
                "student_id": f"s{i}",
                "school_id": "k1",
                "date": date(2026, 4, d),
                "status": "absent_excused",
            }
            for i in range(1, 7)
            for d in (14, 15, 16)
        ],
        "course_grades": [
            {
                "student_id": f"s{i}",
                "course": "Mathematics",
                "school_year": 2026,
                "period": 1,
                "date": date(2025, 11, 1),
                "grade": 60.0 + i,
            }
            for i in range(1, 7)
        ],
        "behavior_incidents": [
            {"student_id": "s1", "incident_id": "i1", "date": date(2026, 3, 1), "behavior": "Other"}
        ],
        "programs": [
            {"program_id": "p1", "organization_id": "tutors", "support": "tutoring"},
            {"program_id": "p2", "organization_id": "pantry", "support": "food"},
        ],
        "service_enrollments": [
            {
                "student_id": "s1",
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": date(2026, 1, 5),
            },
            {
                "student_id": "s2",
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": date(2026, 1, 5),
            },
            {
                "student_id": "s3",
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": date(2025, 9, 1),
                "end_date": date(2025, 12, 1),
            },
            {
                "student_id": "s1",
                "program_id": "p2",
                "organization_id": "pantry",
                "start_date": date(2026, 1, 5),
            },
            {
                "student_id": "s4",
                "program_id": "p2",
                "organization_id": "pantry",
                "start_date": date(2026, 1, 5),
            },
        ],
        "service_sessions": [
            {
                "student_id": "s1",
                "session_id": "x1",
                "program_id": "p1",
                "organization_id": "tutors",
                "date": date(2026, 4, 1),
                "attended": True,
                "minutes": 45.0,
            },
            {
                "student_id": "s1",
                "session_id": "x2",
                "program_id": "p2",
                "organization_id": "pantry",
                "date": date(2026, 4, 2),
                "attended": True,
                "minutes": 10.0,
            },
        ],
    }
