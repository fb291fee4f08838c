"""Who is out of scope is as absent as who does not exist: by every route and method, to the
byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import httpx2
import pytest

from records.access.scope import scope_for
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from tests.serving import district
from tests.serving.conftest import NOW, SECRET, STAFF, TestSite
from tests.serving.site.test_routes import routes_of

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
UNKNOWN = "0" * 20
MALFORMED = ("s01", "%F0%9F%92%A9", "9" * 300)
WHO = ("caseworker", "evaluator", "district_admin")


def said(response: httpx2.Response) -> tuple[int, Mapping[str, str], bytes]:
    """All of an answer."""
    return response.status_code, dict(response.headers), response.content


def out_of_scope(site: TestSite, who: str) -> list[str]:
    """A handle of another organization's, and the one that this person would have of a student they
    do not see.
    """
    viewer = active_staff_member(site.database, STAFF[who][0])
    scope = scope_for(viewer, site.database, Snapshot.current(site.home), NOW, SECRET)
    everybody = dict.fromkeys(district.STUDENTS, next(iter(scope.grants.values()), ()))
    would_be = replace(scope, grants=everybody)
    hidden = [student for student in district.STUDENTS if student not in scope.students]
    others = [site.handle("pantry" if who != "pantry" else "caseworker", "s05")]
    return [*(would_be.handle(student) for student in hidden[-1:]), *others]


@pytest.mark.parametrize("who", WHO)
def test_out_of_scope_unknown_and_malformed_are_answered_alike_by_every_route(
    site: TestSite, who: str
):  # R3
    browser = site.browser(who)
    paths = sorted({path for _, path in routes_of(site.app.routes) if "{handle}" in path})
    taken = set(routes_of(site.app.routes))
    assert len(paths) > 12
    for path in paths:
        for method in METHODS:
            answers = {
                handle: said(
                    browser.request(method, path.format(handle=handle, support="tutoring"))
                )
                for handle in (*out_of_scope(site, who), UNKNOWN, *MALFORMED)
            }
            first = answers[UNKNOWN]
            for handle, answer in answers.items():
                assert answer == first, (method, path, handle)
            found = (("GET" if method == "HEAD" else method), path) in taken
            assert first[0] == (404 if found else 405), (method, path)
    assert site.log() == []


def test_head_is_get_without_its_body_and_is_as_much_a_look(site: TestSite):  # R3, R23
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    for path in (
        "/caseload",
        f"/students/{handle}",
        f"/api/v1/students/{handle}",
        "/api/v1/students",
        "/agreements",
        "/nothing",
        "/static/site.css",
        "/",
    ):
        before = len(site.log())
        got = browser.get(path)
        assert got.status_code < 500, path
        rows = site.log()[before:]
        head = browser.head(path)
        assert (head.status_code, head.headers, head.content) == (
            got.status_code,
            got.headers,
            b"",
        ), path
        again = site.log()[before + len(rows) :]
        assert [(row.student_id, row.categories, row.route) for row in again] == [
            (row.student_id, row.categories, row.route) for row in rows
        ], path
        assert bool(rows) == bool(re.search("students|caseload", path)), path
    signed_out = site.browser()
    assert signed_out.head("/caseload").headers["location"] == "/sign-in?next=/caseload"
    assert signed_out.put("/sign-in").headers["allow"] == "GET, HEAD"
