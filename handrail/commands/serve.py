"""`handrail serve`: the site, on this machine only unless connections are encrypted."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from features.alerts import AlertRules
from handrail.console import Home, err, out, report_user_errors, require_file
from handrail.demo.partners import ORGANIZATION_NAMES, PASSWORD, all_staff
from handrail.settings import Settings, SettingsError
from records.access.publication import check_published
from records.canonical.supports import SupportCatalog
from records.connectors.protocol import SourceRefused
from records.database.engine import Database, open_database
from records.destruction.destruction import DestructionError, finish_destructions
from records.disclosure_log.checkpoints import save_checkpoint
from records.snapshots.staging import LoadInProgress
from records.staff import accounts
from records.staff.viewer import Role
from serving.app import SiteConfig, create_app
from serving.wording.words import ROLES


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8765,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate file (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key file (PEM).")] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            help="Address of the proxy that speaks TLS; only its X-Forwarded headers count."
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Serve the site until it is stopped with Ctrl-C."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        if (tls_certificate is None) != (tls_key is None):
            raise SettingsError("--tls-certificate and --tls-key belong together")
        encrypted = tls_certificate is not None or behind_proxy is not None
        check_listen_address(settings, host, encrypted)
        for file in (tls_certificate, tls_key):
            if file is not None:
                require_file(file)
        check_port(host, port)
        SupportCatalog.of(settings.home)  # Every page needs it: a mistake in it is said here.
        AlertRules.of(settings.home)
        config = site_config(settings, secure_cookies=encrypted)
        check_published(config.database, settings.home)
        resume_destructions(config.database, settings)
        app = create_app(config)
        save_checkpoint(config.database, settings.home, settings.now())
    address = f"{'https' if tls_certificate else 'http'}://{host}:{port}/"
    out.print(f"Handrail is at {address}  (stop it with Ctrl-C)", highlight=False)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        ssl_certfile=tls_certificate,
        ssl_keyfile=tls_key,
        proxy_headers=behind_proxy is not None,
        forwarded_allow_ips=behind_proxy,
    )


def resume_destructions(database: Database, settings: Settings) -> None:
    """Finish interrupted destructions, or report why not; the site serves all the same.

    No page shows those records.
    """
    try:
        for done in finish_destructions(database, settings.home, settings.now()):
            out.print(
                f"Finished a destruction that was cut off: certificate {done.number}.",
                highlight=False,
            )
    except (DestructionError, LoadInProgress, SourceRefused) as error:
        err.print(
            f"handrail: a destruction is unfinished: {error}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def check_listen_address(settings: Settings, host: str, encrypted: bool) -> None:
    """Refuse an unencrypted public address, and any public address for a demo (R54).

    Raises:
        SettingsError: saying what would be right.
    """
    loopback = host == "localhost" or _is_loopback(host)
    if loopback:
        return
    if settings.is_demo:
        raise SettingsError(
            f"a demo's password is public, so it can be served only on this machine, not on {host}"
        )
    if not encrypted:
        raise SettingsError(
            f"{host} can be reached by others: give --tls-certificate and --tls-key, or"
            " --behind-proxy"
        )


def check_port(host: str, port: int) -> None:
    """Check that the port is free, before anything else starts.

    Raises:
        SettingsError: it is taken, or not for this user.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SettingsError(
            f"cannot listen on port {port} of {host} ({reason}): give another --port"
        ) from None


def site_config(settings: Settings, *, secure_cookies: bool = False) -> SiteConfig:
    """The configuration of a home's site; a demo's lists its accounts on the sign-in page."""
    database = open_database(settings.database_url)
    demo = (
        tuple(
            (login, name, f"{ROLES[role]}, {ORGANIZATION_NAMES[organization]}")
            for login, name, role, organization in demo_staff(database)
        )
        if settings.is_demo
        else ()
    )
    return SiteConfig(
        home=settings.home,
        database=database,
        secret=settings.secret(),
        clock=settings.now,
        secure_cookies=secure_cookies,
        demo_accounts=demo,
        demo_password=PASSWORD if settings.is_demo else "",
        limits=settings.limits,
    )


def demo_staff(database: Database) -> list[tuple[str, str, Role, str]]:
    """Login, name, role and organization of those of the demo's people who have an account."""
    logins = {viewer.login for viewer in accounts.all_staff(database)}
    return [person for person in all_staff() if person[0] in logins]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
