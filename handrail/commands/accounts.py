"""`handrail accounts`: organizations, and the people who may sign in."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from handrail.console import Home, out, report_user_errors, require_file
from handrail.settings import Settings
from records.database.engine import Database, open_database
from records.staff.accounts import (
    AccountError,
    add_organization,
    add_staff,
    authenticate,
    read_organizations,
)
from records.staff.viewer import Role, Viewer

app = typer.Typer(no_args_is_help=True, help="Organizations and staff.")
_ROLES = [role.value for role in Role if role is not Role.PIPELINE]


@app.command("organizations")
def organizations(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with organization_id, name and kind; `district` is the district."),
    ],
    home: Home = None,
) -> None:
    """Add organizations or update their names."""
    with report_user_errors():
        rows = read_organizations(require_file(file))
        database = open_database(Settings.from_environment(home).database_url)
        for organization in rows:
            add_organization(database, organization)
    out.print(f"{len(rows)} organizations were added or updated from {file.name}.", highlight=False)


@app.command("staff")
def staff(
    login: Annotated[str, typer.Argument(help="Usually an email address.")],
    name: Annotated[str, typer.Argument(help="The person's name.")],
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(_ROLES)}.")],
    organization: Annotated[str, typer.Argument(help="Identifier of the organization.")],
    home: Home = None,
) -> None:
    """Add a person who may sign in. The password is asked for, or read from HANDRAIL_PASSWORD."""
    with report_user_errors():
        if role not in _ROLES:
            raise AccountError(f"there is no role {role!r}; the roles are {', '.join(_ROLES)}")
        password = _password(confirm=True)
        database = open_database(Settings.from_environment(home).database_url)
        member = add_staff(database, login, name, Role(role), organization, password)
    out.print(
        f"{member.login} may sign in as {member.role} of {member.organization_id}.", highlight=False
    )


def authenticated_viewer(database: Database, login: str, now: datetime) -> Viewer:
    """The person with this login, once their password is confirmed.

    It is asked for at the prompt, or read from HANDRAIL_PASSWORD.

    Raises:
        AccountError: login or password is wrong, or there were too many attempts.
    """
    viewer = authenticate(database, login, _password(confirm=False), now)
    if viewer is None:
        raise AccountError(
            f"the login {login} or its password is wrong, or there were too many attempts"
        )
    return viewer


def _password(*, confirm: bool) -> str:
    password = os.environ.get("HANDRAIL_PASSWORD")
    return password or str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))
