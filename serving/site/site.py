"""What lives as long as the process: settings, templates, the approved model, cached results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.responses import HTMLResponse

from features.alert_versions import VersionInForce, keep_version
from features.alerts import AlertRules
from records.database.engine import Database
from records.disclosure_log.limits import DisclosureLimits
from serving.rendering.templates import template_environment
from serving.site.navigation import is_within
from serving.site.result_cache import ResultCache
from serving.students.caseload import ApprovedModelCache


@dataclass(frozen=True)
class SiteConfig:
    """The settings of one site.

    Attributes:
        home: the folder of snapshots, models, audits and published effects.
        secret: the key of handles, digests and signatures.
        clock: gives the naive local time of the district.
        secure_cookies: whether the site is reached by HTTPS, so that the cookie goes by it alone.
        demo_accounts: login, name and role of accounts that the sign-in page offers.
        limits: how many students one person may be shown at once and in a day.
    """

    home: Path
    database: Database
    secret: bytes
    clock: Callable[[], datetime]
    secure_cookies: bool = False
    demo_accounts: tuple[tuple[str, str, str], ...] = ()
    demo_password: str = ""
    limits: DisclosureLimits = field(default_factory=DisclosureLimits)


class Site:
    """One running site: its settings and what its requests share."""

    def __init__(self, config: SiteConfig) -> None:
        self.config = config
        self.approved_models = ApprovedModelCache(config.home, config.database, config.secret)
        self.result_cache = ResultCache()
        self.templates = template_environment()
        self.templates.globals["is_within"] = is_within
        self._rules_in_force: VersionInForce | None = None
        self._rules_lock = Lock()

    def alert_rules(self, now: datetime) -> AlertRules:
        """The alert rules in force; a version that is new to this process is kept in the home.

        Raises:
            DeclarationError: the district's own file has a mistake. No earlier rules stand in.
        """
        rules = AlertRules.of(self.config.home)
        self._in_force(rules, now)
        return rules

    def alert_rules_since(self, rules: AlertRules, now: datetime) -> datetime:
        """Since when these rules have been in force: when their version was first found so."""
        return self._in_force(rules, now).since

    def _in_force(self, rules: AlertRules, now: datetime) -> VersionInForce:
        with self._rules_lock:
            known = self._rules_in_force
            if known is None or known.version != rules.version:
                known = keep_version(self.config.home, rules, now)
                self._rules_in_force = known
        return known

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A template of `serving/templates` with these values, as a response with this status."""
        return HTMLResponse(self.templates.get_template(template).render(**values), status)
