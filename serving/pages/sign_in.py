"""Signing in and out. A wrong login, a wrong password and too many attempts get one answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import RedirectResponse, Response

from records.staff.accounts import authenticate
from records.staff.sessions import end_session, start_session
from serving.pages.forms import CsrfForm
from serving.site.dependencies import CurrentVisit
from serving.site.security import (
    cookie_name,
    drop_session_cookie,
    safe_redirect_path,
    set_session_cookie,
)
from serving.site.site import Site

router = APIRouter()
SIGN_IN_FAILED = (
    "Incorrect login or password. Check both and try again. After several tries, wait a minute."
)


class SignInForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    login: str
    password: str
    next: str = "/"


@router.get("/sign-in")
def show(request: Request, next: str = "/") -> Response:
    return _form(request.app.state.site, safe_redirect_path(next))


@router.post("/sign-in")
def enter(request: Request, form: Annotated[SignInForm, Form()]) -> Response:
    site: Site = request.app.state.site
    config = site.config
    now = config.clock()
    viewer = authenticate(config.database, form.login, form.password, now)
    if viewer is None:
        return _form(site, safe_redirect_path(form.next), form.login, SIGN_IN_FAILED)
    _end_session(request)
    response = RedirectResponse(safe_redirect_path(form.next), 303)
    set_session_cookie(response, start_session(config.database, viewer, now), config.secure_cookies)
    return response


@router.post("/sign-out")
def leave(request: Request, visit: CurrentVisit, form: Annotated[CsrfForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    _end_session(request)
    response = RedirectResponse("/sign-in", 303)
    drop_session_cookie(response, visit.site.config.secure_cookies)
    return response


def _end_session(request: Request) -> None:
    config = request.app.state.site.config
    token = request.cookies.get(cookie_name(config.secure_cookies))
    if token:
        end_session(config.database, token, config.clock())


def _form(site: Site, to: str, login: str = "", problem: str = "") -> Response:
    return site.render(
        "sign_in.html",
        401 if problem else 200,
        to=to,
        login=login,
        problem=problem,
        accounts=site.config.demo_accounts,
        demo_password=site.config.demo_password,
    )
