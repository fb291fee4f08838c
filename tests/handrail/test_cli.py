"""The command line, used rightly and wrongly: once as a process of its own, else within this
one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from handrail.cli import app
from records.database.engine import open_database
from records.decisions.signoffs import signoffs
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role

PASSWORD = "a password of the test"


def handrail(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from handrail.cli import app; app()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def in_process(*arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    """Run a command without starting a process. A crash shows as exit status 1."""
    run = CliRunner().invoke(app, arguments, env={"HANDRAIL_PASSWORD": password})
    return subprocess.CompletedProcess(arguments, run.exit_code, run.stdout, run.stderr)


def test_the_sample_loads_and_its_report_names_what_is_missing(shared_data: Path, tmp_path: Path):
    run = handrail("load", "edfi", str(shared_data / "edfi"), "--home", str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "Not found: StudentEnrollment.xml" in run.stdout
    assert "Never stored: Visa in Student.xml" in run.stdout
    status = in_process("records", "status", "--home", str(tmp_path))
    assert "960" in status.stdout
    assert in_process("records", "quarantine", "--home", str(tmp_path)).returncode == 0


def test_wrong_use_is_one_plain_sentence_and_exit_two(tmp_path: Path):
    for arguments, part in (
        (("load", "excel", str(tmp_path)), "there is no source 'excel'; the sources are: edfi"),
        (("load", "edfi", str(tmp_path / "nowhere")), "does not exist; give a folder"),
        (("load", "edfi", str(tmp_path)), "holds no .xml file"),
        (("records", "status"), "handrail load"),
    ):
        run = in_process(*arguments, "--home", str(tmp_path / "home"))
        assert run.returncode == 2, run.stdout
        assert part in run.stderr.replace("\n", " ")
        assert "Traceback" not in run.stderr


def test_a_fresh_disclosure_log_holds_and_a_head_can_be_kept(tmp_path: Path):
    home = ("--home", str(tmp_path / "home"))
    assert in_process("disclosures", "head", str(tmp_path / "head.json"), *home).returncode == 0
    run = in_process("disclosures", "verify", "--head", str(tmp_path / "head.json"), *home)
    assert (run.returncode, run.stdout) == (0, "The disclosure log is intact: 0 rows.\n")
    (tmp_path / "head.json").write_text('{"seq": 3, "hash": "00"}')
    cut = in_process("disclosures", "verify", "--head", str(tmp_path / "head.json"), *home)
    assert cut.returncode == 1
    assert "rows 1 to 3 were cut off the end" in cut.stderr


def test_the_example_agreement_is_whole_and_a_broken_one_names_its_line(tmp_path: Path):
    example = Path(__file__).parents[2] / "docs" / "examples" / "tutoring-agreement.toml"
    assert "is complete" in in_process("agreements", "check", str(example)).stdout
    broken = tmp_path / "broken.toml"
    broken.write_text(example.read_text().replace("school_official", "police"))
    run = handrail("agreements", "check", str(broken))
    assert run.returncode == 2
    assert "broken.toml, line 7: legal_basis is 'police'" in run.stderr
    assert in_process("agreements", "check", str(tmp_path / "none.toml")).returncode == 2


def test_an_empty_home_is_told_plainly_what_to_do_first(tmp_path: Path):
    home = ("--home", str(tmp_path / "home"))
    for arguments, part in (
        (("train",), "run `handrail load` first"),
        (("features", "build"), "run `handrail load` first"),
        (("audit",), "run `handrail load` first"),
        (
            ("sign", "1", "--as", "nobody@district.example", "--reason", "x"),
            "or its password is wrong",
        ),
        (
            ("refuse", "1", "--as", "nobody@district.example", "--reason", "x"),
            "or its password is wrong",
        ),
    ):
        run = in_process(*arguments, *home)
        assert run.returncode == 2, (arguments, run.stdout, run.stderr)
        assert part in run.stderr.replace("\n", " "), (arguments, run.stderr)
        assert "Traceback" not in run.stderr
    run = in_process("models", *home)
    assert (run.returncode, run.stderr) == (0, "")
    assert "No model version is registered in" in run.stdout


def test_only_the_reviewer_with_the_right_password_signs_or_refuses(
    approved: Path, tmp_path: Path
):  # R61
    home = tmp_path / "home"
    shutil.copytree(approved, home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    reviewer = add_staff(
        database, "eve@district.example", "Eve Green", Role.EQUITY_REVIEWER, DISTRICT, PASSWORD
    )
    add_staff(database, "sol@district.example", "Sol Ray", Role.DATA_SCIENTIST, DISTRICT, PASSWORD)
    add_organization(database, Organization("tutors", "Tutors", "partner"))
    add_staff(database, "cal@tutors.example", "Cal Low", Role.CASEWORKER, "tutors", PASSWORD)
    before = signoffs(database)
    assert {signoff.decision for signoff in before} == {"signed"}
    for command in ("sign", "refuse"):
        for login, password, part in (
            (
                "eve@district.example",
                "not the password",
                "or its password is wrong, or there were too many attempts",
            ),
            (
                "eve@tutors.example",
                PASSWORD,
                "or its password is wrong, or there were too many attempts",
            ),
            (
                "cal@tutors.example",
                PASSWORD,
                "Only the district's equity reviewer may sign or refuse a model.",
            ),
            (
                "sol@district.example",
                PASSWORD,
                "Only the district's equity reviewer may sign or refuse a model.",
            ),
        ):
            run = decide(command, home, login, password)
            assert run.returncode == 2, run.stdout
            assert part in run.stderr.replace("\n", " ") and "Traceback" not in run.stderr
            assert password not in run.stdout + run.stderr
    assert signoffs(database) == before
    refused = decide("refuse", home, "eve@district.example", PASSWORD)
    assert (refused.returncode, refused.stdout) == (
        0,
        "Version 1 is refused by eve@district.example.\n",
    )
    assert signoffs(database)[0].reviewer_id == reviewer.user_id
    listed = in_process("models", "--home", str(home))
    assert (
        listed.returncode,
        "No version is in service. No model is approved yet." in listed.stdout,
    ) == (
        0,
        True,
    )


def decide(command: str, home: Path, login: str, password: str) -> subprocess.CompletedProcess[str]:
    return in_process(
        command,
        "1",
        "--as",
        login,
        "--reason",
        "I read the report and asked those whom it is about.",
        "--home",
        str(home),
        password=password,
    )
