"""What holds for every response: security headers, the session cookie, no change from another site.

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
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
        "object-src 'none'"
    ),
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
    """The outermost layer: refuses cross-site changes, sets headers, answers a crash with a page.

    A crash is logged as the kind of error and its places in the code only: messages can hold names
    (R25). HEAD is answered everywhere as GET is, without the body. Its headers reveal something of
    the record too, a length at least, so the disclosure is logged as if the body had been sent;
    what is out of scope is as absent to it as what does not exist (R3).
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
            _log.error("%s", _traceback_without_messages(error))
            if started:
                raise
            await self.error_page(request, 500)(scope, receive, send_guarded)


def is_cross_site_change(method: str, headers: Headers) -> bool:
    """Whether a request that could change something was started by a page of another site."""
    if method in _SAFE_METHODS:
        return False
    fetch_site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return True
    if origin is None:
        return False
    if origin == "null":
        return fetch_site is None
    return urlsplit(origin).netloc != headers.get("host")


def cookie_name(secure: bool) -> str:
    """The name of the session cookie; by HTTPS it carries the prefix that binds it to this host."""
    return "__Host-handrail" if secure else "handrail"


def set_session_cookie(response: Response, token: str, secure: bool) -> None:
    """Sign in: the token goes to this site alone and no script can read it."""
    response.set_cookie(
        cookie_name(secure), token, path="/", httponly=True, samesite="lax", secure=secure
    )


def drop_session_cookie(response: Response, secure: bool) -> None:
    """Sign out: the browser forgets the token."""
    response.delete_cookie(
        cookie_name(secure), path="/", httponly=True, samesite="lax", secure=secure
    )


def safe_redirect_path(target: str) -> str:
    """Where to go after signing in: `target` if it is a path of this site, else the front page."""
    parts = urlsplit(target)
    leaves_site = parts.scheme or parts.netloc or target.startswith("//") or "\\" in target
    has_blank_or_control = any(ord(letter) < 33 for letter in target)
    safe = target.startswith("/") and not leaves_site and not has_blank_or_control
    return target if safe else "/"


def _set_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    may_be_cached = path.startswith(STATIC) and message["status"] in (200, 304)
    cache_control = f"public, max-age={_STATIC_SECONDS}" if may_be_cached else "no-store"
    headers["Cache-Control"] = cache_control


def _traceback_without_messages(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " > ".join(
        f"{frame.filename}:{frame.lineno}" for frame in frames[-16:]
    )
