"""Makes a whole demo home by the ordinary steps: files, loads, accounts, features, model, audit, signature.

Killed half-way it leaves no finished mark, and the next run begins anew.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fairness.gate import Policy
from fairness.signoff import sign
from features.build import write_features
from features.catalog import catalog_hash
from handrail.commands.models import audit_version
from handrail.demo.district import DEMO_TODAY
from handrail.demo.files import DemoFiles, generate
from handrail.demo.partners import PASSWORD
from handrail.settings import DEMO_MARK, Settings
from records.accounts import add_organization, add_staff, read_organizations, viewer_of
from records.agreements import parse_agreement, save_agreement
from records.connectors.oneroster import OneRoster
from records.connectors.service_history import ServiceHistory
from records.consents import add_consents
from records.database import Database, open_database
from records.published import publish_if_needed
from records.scope import Role, ScopedRecords, pipeline_scope, scope_for
from records.snapshots import Snapshot, load
from training.lifecycle import ModelVersion, train

Step = Callable[[str, int, int], None]
OFFICER = "admin@district.example"
REVIEWER = "equity@district.example"
REASON = (
    "Demo: the report was read. Groups that are too small to judge are named in it; nothing that can be judged lies "
    "beyond a threshold. To be audited again after the next records."
)


def make_demo(folder: Path, *, students: int = 16_000, seed: int = 2026,
              step: Step = lambda name, done, total: None) -> Settings:  # fmt: skip
    """Make the demo in `folder`, or take the finished one that is there; the settings of its home.

    One that was made with other features, another policy or another size is made anew.
    """
    settings = Settings.from_environment(folder / "home")
    mark = {"today": DEMO_TODAY.isoformat(), "students": students, "seed": seed, "catalog": catalog_hash(),
            "policy": Policy.declared().sha256}  # fmt: skip
    if settings.is_demo and json.loads((settings.home / DEMO_MARK).read_text()) == mark:
        return settings
    shutil.rmtree(folder / "home", ignore_errors=True)
    settings = replace(settings, today=DEMO_TODAY)
    files = generate(folder / "source", seed=seed, students=students, progress=step)
    load(OneRoster(), files.sis, settings.home, progress=lambda file, done, total: step("loading records", done, total))
    load(ServiceHistory(), files.service_history, settings.home, merge=True,
         progress=lambda file, done, total: step("loading service history", done, total))  # fmt: skip
    database = open_database(settings.database_url)
    add_people(database, files, step)
    snapshot = Snapshot.current(settings.home)
    officer = viewer_of(database, OFFICER)
    add_consents(database, scope_for(officer, database, snapshot, settings.now(), settings.secret()), files.consents,
                 settings.now())  # fmt: skip
    publish_if_needed(database, snapshot, lambda table, done, total: step("publishing records", done, total))
    step("building features", 0, 1)
    day = snapshot.latest_date()
    write_features(ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day)), day, settings.home)
    step("building features", 1, 1)
    made = train(snapshot, settings.home, seed=seed, progress=step)
    _audit_and_sign(settings, database, made, step)
    (settings.home / DEMO_MARK).write_text(json.dumps(mark))
    return settings


def add_people(database: Database, files: DemoFiles, step: Step) -> None:
    """Organisations, agreements and staff from their files."""
    for organization in read_organizations(files.organizations):
        add_organization(database, organization)
    for file in files.agreements:
        save_agreement(database, parse_agreement(file.read_text(), file.name))
    with files.staff.open(encoding="utf-8", newline="") as stream:
        people = list(csv.DictReader(stream))
    for done, person in enumerate(people):
        step("adding accounts", done, len(people))
        add_staff(database, person["login"], person["name"], Role(person["role"]), person["organization_id"], PASSWORD)
    step("adding accounts", len(people), len(people))


def _audit_and_sign(settings: Settings, database: Database, made: ModelVersion, step: Step) -> None:
    step("auditing and signing", 0, 2)
    audit_version(settings, made.version)
    step("auditing and signing", 1, 2)
    reviewer = viewer_of(database, REVIEWER)
    sign(database, settings.home, made.version, reviewer, REASON, settings.now(), Policy.declared())
    step("auditing and signing", 2, 2)
