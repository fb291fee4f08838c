"""A demo over a folder of real sample records: loaded as they are, with accounts to look at them.

The demo stands on the day of the newest record, or of the last enrollment where nothing else has
a date. There is no model, and there are no partners: what
real samples lack is not made up.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path

from handrail.commands.records import FILE_SOURCES, load_and_publish
from handrail.demo.partners import DISTRICT_STAFF, PASSWORD
from handrail.settings import DEMO_MARKER_FILE, Settings, SettingsError
from records.canonical.columns import SchoolEnrollments
from records.connectors.edfi.files import EdFiFiles
from records.connectors.file_names import files_by_name
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import read_profile
from records.connectors.protocol import Connector, SourceRefused
from records.connectors.zip_files import open_source_folder
from records.database.engine import open_database
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT
from records.system.progress import ProgressCallback

_SAMPLES = "samples"
"""What a marker has that only a demo of samples has: where they came from."""


def make_sample_demo(
    folder: Path,
    samples: Path,
    source: str | None = None,
    *,
    progress: ProgressCallback = lambda name, done, total: None,
) -> tuple[Settings, LoadReport]:
    """Make the demo of `samples` in `folder`, anew each time; its home's settings, and the report.

    A profile that lies in the home stays, so that the codes of the samples can be explained.

    Args:
        samples: a folder or ZIP file.
        source: one of `FILE_SOURCES`; None where the files show it.

    Raises:
        SettingsError: there is something else in `folder`, or no such source.
        SourceRefused: the samples cannot be read.
    """
    settings = Settings.from_environment(folder / "home")
    _make_room(settings)
    kind = source or _recognized_source(samples, settings.home)
    if kind not in FILE_SOURCES:
        raise SettingsError(f"--source is {kind!r}; it must be {' or '.join(FILE_SOURCES)}")
    connector = _connector(kind, settings.home)
    load(connector, samples, settings.home, progress=progress)
    newest = _newest_day(Snapshot.current(settings.home)) or settings.now().date()
    settings = replace(settings, today=newest)
    report = load_and_publish(
        settings,
        connector,
        samples,
        False,
        progress,
        accept=True,
        at=datetime.combine(newest, time(4, 10)),
    )
    _add_staff(settings)
    _mark(settings, kind, samples, newest)
    return settings, report


def _make_room(settings: Settings) -> None:
    """Remove an earlier demo of samples, all but its profiles.

    Raises:
        SettingsError: the home is no demo of samples.
    """
    home = settings.home
    if not home.exists():
        home.mkdir(parents=True)
        return
    marker = home / DEMO_MARKER_FILE
    is_ours = marker.exists() and _SAMPLES in json.loads(marker.read_text())
    if not is_ours and any(path.name != "profiles" for path in home.iterdir()):
        raise SettingsError(f"{home} holds something else already: give another FOLDER")
    for path in home.iterdir():
        if path.name != "profiles":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _recognized_source(samples: Path, home: Path) -> str:
    """The kind of source that some files are.

    Raises:
        SourceRefused: they show none.
    """
    with open_source_folder(samples, home) as files:
        names = files_by_name(files, ("users.csv",))
    if any(path.suffix.casefold() == ".xml" for path in names.values()):
        return "edfi"
    if "users.csv" in names:
        return "oneroster"
    raise SourceRefused(
        f"{samples} holds no .xml file of Ed-Fi and no users.csv of OneRoster: give --source, one"
        f" of {', '.join(FILE_SOURCES)}, if it is a source all the same"
    )


def _connector(kind: str, home: Path) -> Connector:
    profile = read_profile(kind, home)
    return EdFiFiles(profile) if kind == "edfi" else OneRosterFiles(profile=profile)


def _newest_day(snapshot: Snapshot) -> date | None:
    """The day of the newest record; None where nothing has a date."""
    try:
        return snapshot.latest_date()
    except NoSnapshot:
        entered = snapshot.table(SchoolEnrollments.TABLE).to_pyarrow()[SchoolEnrollments.ENTRY_DATE]
        return max((day for day in entered.to_pylist() if day is not None), default=None)


def _add_staff(settings: Settings) -> None:
    database = open_database(settings.database_url)
    add_organization(database, Organization(DISTRICT, "The district of the samples", "district"))
    for login, name, role in DISTRICT_STAFF:
        add_staff(database, login, name, role, DISTRICT, PASSWORD)


def _mark(settings: Settings, kind: str, samples: Path, today: date) -> None:
    marker = {"today": today.isoformat(), _SAMPLES: str(samples.resolve()), "source": kind}
    (settings.home / DEMO_MARKER_FILE).write_text(json.dumps(marker))
