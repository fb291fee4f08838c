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


def test_a_fresh_disclosure_log_holds_and_a_head_can_be_kept(tmp_path: Path):
    home = ("--home", str(tmp_path / "home"))
    assert handrail("disclosures", "head", str(tmp_path / "head.json"), *home).returncode == 0
    run = handrail("disclosures", "verify", "--head", str(tmp_path / "head.json"), *home)
    assert (run.returncode, run.stdout) == (0, "The disclosure log holds: 0 rows.\n")
    (tmp_path / "head.json").write_text('{"seq": 3, "hash": "00"}')
    cut = handrail("disclosures", "verify", "--head", str(tmp_path / "head.json"), *home)
    assert cut.returncode == 1
    assert "rows 1 to 3 were cut off the end" in cut.stderr


def test_the_example_agreement_is_whole_and_a_broken_one_names_its_line(tmp_path: Path):
    example = Path(__file__).parents[2] / "docs" / "examples" / "tutoring-agreement.toml"
    assert "is whole" in handrail("agreements", "check", str(example)).stdout
    broken = tmp_path / "broken.toml"
    broken.write_text(example.read_text().replace("school_official", "police"))
    run = handrail("agreements", "check", str(broken))
    assert run.returncode == 2
    assert "broken.toml, line 7: legal_basis is 'police'" in run.stderr
    assert handrail("agreements", "check", str(tmp_path / "none.toml")).returncode == 2
