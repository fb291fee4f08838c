"""R1: what a viewer sees does not depend on anything outside their scope, to the last byte."""

from __future__ import annotations

import copy
import tempfile
from datetime import date, timedelta
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES, Category
from records.database.engine import open_database
from records.staff.viewer import Role, Viewer
from tests.own_supports import write_own_list
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_consent,
    add_organization,
    at_noon,
    snapshot_of,
)

CONSENTED = (Category.HOUSING, Category.MEAL_ELIGIBILITY)
GRANTABLE = sorted({*Category} - {Category.SPECIAL_EDUCATION})
IDS = [f"s{i}" for i in range(1, 7)]
ROLES = [Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN]
STATUSES = ["absent_excused", "absent_unexcused", "tardy"]


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(data=st.data())
def test_changes_out_of_scope_change_nothing_that_is_shown(data: st.DataObject):  # R1
    granted = data.draw(
        st.lists(st.sampled_from(GRANTABLE), unique=True, min_size=1), label="granted"
    )
    consents = data.draw(
        st.dictionaries(st.sampled_from(IDS), st.lists(st.sampled_from(GRANTABLE), min_size=1))
    )
    role = data.draw(st.sampled_from(ROLES), label="role")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = open_database(f"sqlite:///{home / 'h.db'}")
        add_organization(database, "tutors", *ROLES)
        add_agreement(
            database,
            categories=[str(c) for c in granted],
            consent_required=[str(c) for c in CONSENTED if c in granted],
        )
        for student, categories in consents.items():
            add_consent(database, student, *categories)
        viewer = Viewer(f"tutors-{role}", "", "", role, "tutors")
        rows = six_student_district.rows()
        rows["programs"] += [
            {"program_id": "p7", "organization_id": "shelter", "support": "homework_club"},
            {"program_id": "p8", "organization_id": "shelter", "support": "motel_vouchers"},
        ]
        for name in ("before", "after"):
            write_own_list(home / name)
        before = snapshot_of(rows, home / "before")
        scope = scope_for(viewer, database, before, at_noon(TODAY), SECRET)
        visible = {student: scope.categories(student) for student in IDS}
        after = snapshot_of(scramble(rows, visible, data), home / "after")
        scope_after = scope_for(viewer, database, after, at_noon(TODAY), SECRET)
        assert scope_after.fingerprint() == scope.fingerprint()
        assert {s: scope.handle(s) for s in scope.students} == {
            s: scope_after.handle(s) for s in scope_after.students
        }
        for name in TABLES:
            if TABLES[name].is_student:
                shown = [
                    ScopedRecords(*pair).frame(name).to_json(date_format="iso")
                    for pair in ((before, scope), (after, scope_after))
                ]
                assert shown[0] == shown[1], name


def scramble(
    rows: six_student_district.Rows, visible: dict[str, frozenset[Category]], data: st.DataObject
):
    """Change, add and remove whatever the viewer may not see, but not who is enrolled with them."""
    changed = copy.deepcopy(rows)

    def hidden(student: object, category: Category) -> bool:
        return category not in visible.get(str(student), frozenset())

    for row in changed["students"]:
        if hidden(row["student_id"], Category.DIRECTORY):
            row["last_name"] = data.draw(st.text("abc", min_size=1, max_size=3))
    for row in changed["characteristics"]:
        for column, category in (
            ("unstable_housing", Category.HOUSING),
            ("meal_eligible", Category.MEAL_ELIGIBILITY),
            ("sex", Category.DEMOGRAPHICS),
        ):
            if hidden(row["student_id"], category):
                row[column] = data.draw(
                    st.sampled_from(
                        [None, "female", "male"] if column == "sex" else [None, True, False]
                    )
                )
    for table, category in (
        ("attendance_events", Category.ATTENDANCE),
        ("course_grades", Category.GRADES),
    ):
        changed[table] = [
            row
            for row in changed[table]
            if not hidden(row["student_id"], category) or data.draw(st.booleans())
        ]
    for student in IDS:
        if hidden(student, Category.ATTENDANCE):
            day = date(2026, 3, 2) + timedelta(days=data.draw(st.integers(0, 20)))
            changed["attendance_events"].append(
                {
                    "student_id": student,
                    "school_id": "k1",
                    "date": day,
                    "status": data.draw(st.sampled_from(STATUSES)),
                }
            )
        if hidden(student, Category.BEHAVIOR):
            changed["behavior_incidents"].append(
                {"student_id": student, "incident_id": "new", "date": TODAY}
            )
        for program, needed in (
            ("p2", {Category.SERVICES_OTHER}),
            ("p7", {Category.SERVICES_OTHER}),
            ("p8", {Category.SERVICES_OTHER, Category.HOUSING}),
            ("p9", {Category.SERVICES_OTHER, Category.HOUSING}),
        ):
            if any(hidden(student, category) for category in needed):
                changed["service_enrollments"].append(
                    {
                        "student_id": student,
                        "program_id": program,
                        "start_date": TODAY,
                        "organization_id": "shelter",
                    }
                )
    if data.draw(st.booleans()):
        changed["students"].append({"student_id": "s7", "first_name": "New", "last_name": "Child"})
    return changed
