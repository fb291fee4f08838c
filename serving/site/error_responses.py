"""Which page, or which JSON object, answers each kind of error.

The page for what does not exist equals, byte for byte, that for what is out of scope (R3): it knows
neither the path nor the person.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import ceil

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fairness.checks.policy_file import PolicyError
from features.declarations import DeclarationError
from records.access.publication import NotPublished
from records.canonical.supports import SupportsError
from records.checks.plausible_ranges import PlausibleRangesError
from records.decisions.decisions import DecisionError
from records.disclosure_log.disclosures import DisclosureLogUnavailable
from records.disclosure_log.limits import TooManyStudents
from records.snapshots.snapshot import NoSnapshot
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import NotInScope
from records.suppression.small_numbers import SmallNumbersError
from serving.site.exceptions import InvalidCsrfToken, SignInRequired, StaleSuggestion
from serving.site.security import safe_redirect_path
from serving.site.site import Site

API = "/api/"
MESSAGES: dict[int, tuple[str, str]] = {
    400: ("We could not read that", "The request was not complete. Go back and try again."),
    403: (
        "That form cannot be used",
        (
            "It was open for too long or came from another site. Nothing was changed. "
            "Go back to Handrail, reload the page, and try again."
        ),
    ),
    404: (
        "We cannot find that page",
        (
            "It may have moved, or the link may be old. Check the address, or start again from "
            "the front page."
        ),
    ),
    405: (
        "That does not work here",
        "This page cannot be used that way. Go back and try again.",
    ),
    409: (
        "This list has changed",
        (
            "The records or the suggestions have changed since you opened the page. Nothing was "
            "recorded. Open the student's page again to see the current list."
        ),
    ),
    422: (
        "Something is missing or not right",
        "Nothing was changed. Go back, check what you filled in, and try again.",
    ),
    429: ("Too many requests", "Nothing was shown. Try again later."),
    500: (
        "Something went wrong on our side",
        (
            "Nothing was changed. Try again in a moment. If it happens again, tell the person who "
            "runs Handrail at the district."
        ),
    ),
    503: (
        "Records cannot be shown right now",
        (
            "Every view of a record must be logged first, and that is not possible right now. "
            "No record was shown. Try again in a few minutes."
        ),
    ),
}
TOO_MANY_AT_ONCE = (
    "Too many students at once",
    (
        "At most {most:,} students can be shown at once. Nothing was shown, and the district was "
        "notified. Ask for fewer."
    ),
)
TOO_MANY_TODAY = (
    "You have reached today's limit",
    (
        "One person can see at most {most:,} different students in a day, and this would be more. "
        "Nothing was shown, and the district was notified. You can still see the students you saw "
        "today; you can see others after midnight. If your work needs more today, ask the "
        "district."
    ),
)
NO_RECORDS = (
    "No records are loaded yet",
    "The district has not loaded its records. Once it has, they appear here.",
)
NOT_PUBLISHED = (
    "The records are being updated",
    (
        "Nothing can be shown right now. Try again in a few minutes. If it happens again, tell the "
        "person who runs Handrail at the district."
    ),
)

UNREADABLE_RULES = (
    "The district's rules cannot be read",
    (
        "A file of rules in the district's folder, for alerts, fairness, small numbers, plausible"
        " figures or kinds of support, has a mistake. Nothing was changed. Tell the person who runs"
        " Handrail at the district."
    ),
)


def error_response(
    request: Request, status: int, message: tuple[str, str] | None = None
) -> Response:
    """The page, or below /api/ the JSON object, that says what is wrong.

    Args:
        message: title and text; by default those of the status.
    """
    if status not in MESSAGES:
        status = 500 if status >= 500 else 400
    title, text = message or MESSAGES[status]
    if request.url.path.startswith(API):
        return JSONResponse({"error": title, "message": text}, status)
    site: Site = request.app.state.site
    return site.render("error.html", status, title=title, text=text)


def add_exception_handlers(app: FastAPI) -> None:
    """Give each kind of error its own answer."""
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_handler(422))
    app.exception_handler(NotInScope)(_handler(404))
    app.exception_handler(NotADistrictAdmin)(_handler(404))
    app.exception_handler(InvalidCsrfToken)(_handler(403))
    app.exception_handler(StaleSuggestion)(_handler(409))
    app.exception_handler(DisclosureLogUnavailable)(_handler(503))
    app.exception_handler(TooManyStudents)(_too_many_students)
    app.exception_handler(NoSnapshot)(_handler(503, NO_RECORDS))
    app.exception_handler(NotPublished)(_handler(503, NOT_PUBLISHED))
    app.exception_handler(PolicyError)(_handler(503, UNREADABLE_RULES))
    app.exception_handler(DeclarationError)(_handler(503, UNREADABLE_RULES))
    app.exception_handler(PlausibleRangesError)(_handler(503, UNREADABLE_RULES))
    app.exception_handler(SmallNumbersError)(_handler(503, UNREADABLE_RULES))
    app.exception_handler(SupportsError)(_handler(503, UNREADABLE_RULES))
    app.exception_handler(DecisionError)(_decision_error)
    app.exception_handler(SignInRequired)(_sign_in_required)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = error_response(request, error.status_code)
    if error.status_code == 405 and error.headers:
        response.headers["Allow"] = error.headers["Allow"].replace("GET", "GET, HEAD")
    return response


def _too_many_students(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyStudents)
    title, text = TOO_MANY_AT_ONCE if error.until is None else TOO_MANY_TODAY
    response = error_response(request, 429, (title, text.format(most=error.most)))
    if error.until is not None:
        site: Site = request.app.state.site
        seconds = ceil((error.until - site.config.clock()) / timedelta(seconds=1))
        response.headers["Retry-After"] = str(max(1, seconds))
    return response


def _handler(
    status: int, message: tuple[str, str] | None = None
) -> Callable[[Request, Exception], Response]:
    return lambda request, error: error_response(request, status, message)


def _decision_error(request: Request, error: Exception) -> Response:
    return error_response(request, 422, (str(error), MESSAGES[422][1]))


def _sign_in_required(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(API):
        return JSONResponse({"error": "Nobody is signed in", "message": "Sign in first."}, 401)
    target = safe_redirect_path(request.url.path) if request.method == "GET" else "/"
    return RedirectResponse("/sign-in" if target == "/" else f"/sign-in?next={target}", 303)
