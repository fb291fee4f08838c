"""The command line, used rightly and wrongly, as a separate process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def handrail(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from handrail.cli import app; app()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_sample_loads_and_its_report_names_what_is_missing(shared_data: Path, tmp_path: Path):
    run = handrail("load", "edfi", str(shared_data / "edfi"), "--home", str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "Not found: StudentEnrollment.xml" in run.stdout
    assert "Never stored: Visa in Student.xml" in run.stdout
    status = handrail("records", "status", "--home", str(tmp_path))
    assert "960" in status.stdout
    assert handrail("records", "quarantine", "--home", str(tmp_path)).returncode == 0


def test_wrong_use_is_one_plain_sentence_and_exit_two(tmp_path: Path):
    for arguments, part in (
        (("load", "excel", str(tmp_path)), "there is no source 'excel'; the sources are: edfi"),
        (("load", "edfi", str(tmp_path / "nowhere")), "is not a folder"),
        (("load", "edfi", str(tmp_path)), "holds no .xml file"),
        (("records", "status"), "handrail load"),
    ):
        run = handrail(*arguments, "--home", str(tmp_path / "home"))
        assert run.returncode == 2, run.stdout
        assert part in run.stderr.replace("\n", " ")
        assert "Traceback" not in run.stderr
