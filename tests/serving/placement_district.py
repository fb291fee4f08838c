"""A district in which there are places to give out, and a ranker that has something to say about
them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.catalog import feature_names
from tests.random_districts import Rows, draw_enrollment, draw_rows
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

OWN = ("food", "mentoring")
STUDENTS = 70


def planning_rows() -> Rows:
    """Students of the tutors, who offer food (5 places) and mentoring (12) besides; four have a
    place in food now.
    """
    rng = np.random.default_rng(8)
    rows = draw_rows(rng, STUDENTS)
    others = [row for row in rows["programs"] if row["organization_id"] != "tutors"]
    rows["programs"] = others + [
        {
            "program_id": program,
            "organization_id": "tutors",
            "name": name,
            "support": support,
            "capacity": capacity,
        }
        for program, name, support, capacity in (
            ("p1", "Tutoring", "tutoring", 90),
            ("p5", "Bags", "food", 9),
            ("p7", "Mentors", "mentoring", 12),
        )
    ]
    grades = {row["student_id"]: row["grade_level"] for row in rows["students"]}
    for row in rows["school_enrollments"]:
        row["grade_level"] = grades[row["student_id"]]
    students = [str(student) for student in grades]
    rows["service_sessions"] = []
    taking_part = [("p1", student) for student in students[:60]] + [
        ("p5", student) for student in students[:4]
    ]
    rows["service_enrollments"] = [
        draw_enrollment(rng, student, program) | {"end_date": None, "organization_id": "tutors"}
        for program, student in taking_part
    ]
    return rows


def train_placement_model() -> RankerModel:
    """A real ranker: both supports are followed by progress, food more so with many absences,
    tutoring the same.
    """
    rng = np.random.default_rng(5)
    features = pd.DataFrame({name: rng.normal(0, 1, 1_500) for name in feature_names()})
    features["absence_rate_year"] = absent = rng.random(1_500) * 0.4
    given = pd.Series(rng.choice(["none", "tutoring", *OWN], 1_500))
    worth = np.select(
        [given == "food", given == "mentoring", given == "tutoring"],
        [4.0 + 20 * absent, 6.0 + 8 * absent, np.full(1_500, 4.0)],
        0.0,
    )
    students = pd.Series([f"t{number}" for number in range(1_500)])
    ranker = BenefitRanker(("tutoring", *OWN), n_folds=2, min_leaf=30, rounds=40)
    return RankerModel(
        ranker.fit(features, worth + rng.normal(0, 0.5, 1_500), given, students), {}, "ab" * 32
    )
