"""Loading a source into a new snapshot: all of it or nothing.

Equal input gives an equal snapshot. Two loads at once are refused rather than mixed. Rows go
through files, never all through memory, so that a load of any size takes about as much memory as a
small one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from pathlib import Path

from records.connectors.corrections import Correction, apply_corrections
from records.connectors.protocol import Connector
from records.connectors.zip_files import open_source_folder
from records.identity.aliases import Identities, KnownStudents
from records.loading.load_history import carried_over_notes, student_ids
from records.loading.load_report import LoadReport
from records.loading.merging import write_tables
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import Snapshot, SnapshotDamaged
from records.snapshots.staging import activate, staging_folder
from records.system.progress import ProgressCallback


def load(
    connector: Connector,
    directory: Path,
    home: Path,
    *,
    merge: bool = False,
    progress: ProgressCallback = lambda file, done, total: None,
    publish: Callable[[Snapshot], None] = lambda snapshot: None,
    leave_out: Callable[[str], bool] | None = None,
    corrections: Sequence[Correction] = (),
    day: date | None = None,
    on_hold: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
    identify: Callable[[Identities], None] = lambda identities: None,
) -> LoadReport:
    """Read a source into a new snapshot and make it current.

    With `merge`, tables that the connector does not bring are carried over from the current
    snapshot, and so are the programs and services of organizations that this source does not bring
    now and did not bring before. A table whose files are missing is not brought. What is carried
    over of a student who is not in the new roster waits for them (`records.loading.waiting`).

    Args:
        directory: the folder that holds the source's files, or a ZIP file of them.
        publish: called with the complete new snapshot before it becomes current; should it raise,
            the old one stays.
        leave_out: whether the records of a student, by ID, were destroyed and must not come back.
        corrections: lines that a person has corrected, read in place of the source's own.
        day: today, from which rows wait that have to; None leaves it open until a later load.
        on_hold: students whose records are under a legal hold: their rows wait without a limit.
        aliases: further identifiers of students that earlier loads found, each with its student.
        identify: called before `publish` with the identifiers that now stand for one student.

    Returns:
        What was read, kept and left out.

    Raises:
        SourceRefused: the source cannot be read, or is not the one that was corrected; the current
            snapshot stays.
        LoadInProgress: another load is running.
    """
    snapshots = home / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    with staging_folder(snapshots) as staging:
        previous, lost = _previous_snapshot(home) if merge else (None, False)
        known = KnownStudents(
            aliases or {}, student_ids(previous), leave_out or (lambda student_id: False)
        )
        sink = StagingSink(staging, connector, leave_out, day, on_hold, known)
        with (
            open_source_folder(directory, staging) as source,
            apply_corrections(source, corrections, staging) as corrected_source,
        ):
            connector.read(corrected_source, sink, progress)
        if lost:
            sink.note(
                "the snapshot that served was gone, so nothing was carried over from it: load every"
                " source"
            )
        report, identities = write_tables(sink, connector, previous)
        identify(identities)
        report.notes += carried_over_notes(home, report)
        report.changed = activate(staging, snapshots, report.snapshot_id, publish)
    return report


def _previous_snapshot(home: Path) -> tuple[Snapshot | None, bool]:
    """The snapshot that serves, and whether it is gone though there should be one."""
    try:
        return Snapshot.current(home), False
    except SnapshotDamaged:
        return None, True
