"""What is said when something cannot be shown: one plain page, or one JSON object, for each kind of
error.

The page for what does not exist is the same, byte for byte, as that for what is out of scope (R3):
it knows neither the path nor the person.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fairness.policy.policy_file import PolicyError
from records.access.publication import NotPublished
from records.decisions.decisions import DecisionError
from records.disclosure_log.disclosures import DisclosureLogUnavailable, TooManyStudents
from records.people.district_admins import NotADistrictAdmin
from records.people.viewer import NotInScope
from records.snapshots.snapshot import NoSnapshot
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
            "Go back to Handrail, reload the page and try again."
        ),
    ),
    404: (
        "We cannot find that page",
        (
            "It may have moved, or the link may be old. Check the address, or start again "
            "from the front page."
        ),
    ),
    405: (
        "That does not work here",
        "This page cannot be used in that way. Go back and try again.",
    ),
    409: (
        "This list has changed",
        (
            "The records or the suggestions are newer than the page you were looking at. "
            "Nothing was recorded. Open the student's page again and look at the list as it is now."
        ),
    ),
    422: (
        "Something is missing or not right",
        "Nothing was changed. Go back, check what you filled in, and try again.",
    ),
    429: ("That is too much at once", "Nothing was shown. Try again later."),
    500: (
        "Something went wrong on our side",
        (
            "Nothing was changed. Try again in a moment. If it happens again, tell "
            "the person who looks after Handrail at the district."
        ),
    ),
    503: (
        "Records cannot be shown right now",
        (
            "Every look at a record has to be written down first, and that is not "
            "possible at the moment. No record was shown. Try again in a few minutes."
        ),
    ),
}
TOO_MANY_AT_ONCE = (
    "Too many students at once",
    (
        "At most {most:,} students can be shown at once. Nothing was shown, "
        "and the district was told. Ask for fewer."
    ),
)
TOO_MANY_TODAY = (
    "You have reached today's limit",
    (
        "One person can be shown at most {most:,} different students in a day, and this would be"
        " more. Nothing was shown, and the district was told. The students whom you saw today stay"
        " open to you; others can be opened from midnight on. If your work needs more today, ask"
        " the district."
    ),
)
NO_RECORDS = (
    "No records are loaded yet",
    "The district has not loaded its records. Once it has, this page fills by itself.",
)

NOT_PUBLISHED = (
    "The records are being brought up to date",
    (
        "Nothing can be shown for the moment. Try again in a few "
        "minutes. If it happens again, tell the person who looks after Handrail at the district."
    ),
)

UNREADABLE_RULES = (
    "The district's rules cannot be read",
    (
        "A file of rules in the district's folder, for fairness or for small numbers, has a"
        " mistake. Nothing was changed. Tell the person who looks after Handrail at the district."
    ),
)


def error_response(
    request: Request, status: int, message: tuple[str, str] | None = None
) -> Response:
    """The page or the JSON object that says what is wrong."""
    status = status if status in MESSAGES else (500 if status >= 500 else 400)
    title, text = message or MESSAGES[status]
    if request.url.path.startswith(API):
        return JSONResponse({"error": title, "message": text}, status)
    site: Site = request.app.state.site
    return site.render("error.html", status, title=title, text=text)


def add_exception_handlers(app: FastAPI) -> None:
    """Answer each of the rooms' errors in its own way."""
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_answering(422))
    app.exception_handler(NotInScope)(_answering(404))
    app.exception_handler(NotADistrictAdmin)(_answering(404))
    app.exception_handler(InvalidCsrfToken)(_answering(403))
    app.exception_handler(StaleSuggestion)(_answering(409))
    app.exception_handler(DisclosureLogUnavailable)(_answering(503))
    app.exception_handler(TooManyStudents)(_too_many)
    app.exception_handler(NoSnapshot)(_answering(503, NO_RECORDS))
    app.exception_handler(NotPublished)(_answering(503, NOT_PUBLISHED))
    app.exception_handler(PolicyError)(_answering(503, UNREADABLE_RULES))
    app.exception_handler(SmallNumbersError)(_answering(503, UNREADABLE_RULES))
    app.exception_handler(DecisionError)(_refused)
    app.exception_handler(SignInRequired)(_sign_in)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = error_response(request, error.status_code)
    if error.status_code == 405 and error.headers:
        response.headers["Allow"] = error.headers["Allow"].replace("GET", "GET, HEAD")
    return response


def _too_many(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyStudents)
    if error.until is None:
        return error_response(
            request, 429, (TOO_MANY_AT_ONCE[0], TOO_MANY_AT_ONCE[1].format(most=error.most))
        )
    response = error_response(
        request, 429, (TOO_MANY_TODAY[0], TOO_MANY_TODAY[1].format(most=error.most))
    )
    site: Site = request.app.state.site
    left = error.until - site.config.clock()
    response.headers["Retry-After"] = str(max(1, -(-left // timedelta(seconds=1))))
    return response


def _answering(
    status: int, message: tuple[str, str] | None = None
) -> Callable[[Request, Exception], Response]:
    return lambda request, error: error_response(request, status, message)


def _refused(request: Request, error: Exception) -> Response:
    return error_response(request, 422, (str(error), MESSAGES[422][1]))


def _sign_in(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(API):
        return JSONResponse({"error": "Nobody is signed in", "message": "Sign in first."}, 401)
    asked = safe_redirect_path(request.url.path) if request.method == "GET" else "/"
    return RedirectResponse("/sign-in" if asked == "/" else f"/sign-in?next={asked}", 303)
