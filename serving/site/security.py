"""What holds for every answer of the site: headers, the session cookie, and no changes asked for by
another site.

Sources: OWASP ASVS 5, 3.3, 3.4 and 3.5; Fetch, "append a request Origin header" (a page with
`no-referrer` posts its own forms with `Origin: null`, so that Sec-Fetch-Site decides there).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = "/static/"
_POLICY = (
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src"
    " 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_STATIC_SECONDS = 24 * 60 * 60
_log = logging.getLogger("handrail.serving")

ErrorPage = Callable[[Request, int], Response]


class SecurityMiddleware:
    """The outermost layer: refuses foreign changes, sets the headers, turns a crash into a page
    without a word of data.

    A crash is logged as kinds of errors and places in the code only: messages can hold names (R25).
    HEAD is answered everywhere by doing what GET does and keeping the body back. Its headers tell
    of the record too, a length at least, so the look is written down as if the body had been sent;
    what is out of scope is as absent to it as what is not there (R3).
    """

    def __init__(self, app: ASGIApp, error_page: ErrorPage) -> None:
        self.app = app
        self.error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers_only = scope["method"] == "HEAD"
        scope = {**scope, "method": "GET"} if headers_only else scope
        request = Request(scope)
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _set_headers(message, scope["path"])
            elif headers_only:
                message["body"] = b""
            await send(message)

        if is_cross_site_change(request.method, request.headers):
            await self.error_page(request, 403)(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, receive, send_guarded)
        except Exception as error:
            _log.error("%s", _places(error))
            if started:
                raise
            await self.error_page(request, 500)(scope, receive, send_guarded)


def is_cross_site_change(method: str, headers: Headers) -> bool:
    """Whether a request that could change something was started by a page of another site."""
    if method in _SAFE_METHODS:
        return False
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    if origin is None:
        return False
    if origin == "null":
        return site is None
    return urlsplit(origin).netloc != headers.get("host")


def cookie_name(secure: bool) -> str:
    return "__Host-handrail" if secure else "handrail"


def set_session_cookie(response: Response, token: str, secure: bool) -> None:
    response.set_cookie(
        cookie_name(secure), token, path="/", httponly=True, samesite="lax", secure=secure
    )


def drop_session_cookie(response: Response, secure: bool) -> None:
    response.delete_cookie(
        cookie_name(secure), path="/", httponly=True, samesite="lax", secure=secure
    )


def safe_redirect_path(asked: str) -> str:
    """Where to go after signing in: a path of this site, or its front page."""
    parts = urlsplit(asked)
    strange = (
        parts.scheme or parts.netloc or "\\" in asked or any(ord(letter) < 33 for letter in asked)
    )
    return asked if asked.startswith("/") and not asked.startswith("//") and not strange else "/"


def _set_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    kept = path.startswith(STATIC) and message["status"] in (200, 304)
    headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}" if kept else "no-store"


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " > ".join(
        f"{frame.filename}:{frame.lineno}" for frame in frames[-16:]
    )
