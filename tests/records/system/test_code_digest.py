"""A digest of code that holds through layout and comments, and no change of what it does."""

from __future__ import annotations

from pathlib import Path

from records.system.code_digest import code_digest

CODE = '''"""What it is."""
RATE = 0.5
"""Why."""


def half(x: float) -> float:
    """Half of it."""
    return x * RATE
'''


def digest(folder: Path, text: str, name: str = "measure.py") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return code_digest([file])


def test_words_and_layout_do_not_count(tmp_path: Path):
    same = (
        "# A comment.\nRATE = 0.5\ndef half(\n    x: float,\n) -> float:\n    return (x * RATE)\n"
    )
    assert digest(tmp_path / "a", CODE) == digest(tmp_path / "b", same)


def test_what_the_code_does_counts(tmp_path: Path):
    others = [
        CODE.replace("0.5", "0.6"),
        CODE.replace("*", "+"),
        CODE.replace("x * RATE", "RATE * x"),
        CODE.replace("def half", "def third"),
    ]
    digests = {digest(tmp_path / str(at), text) for at, text in enumerate([CODE, *others])}
    assert len(digests) == 1 + len(others)
    assert digest(tmp_path / "c", CODE, "other.py") not in digests


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path):
    first = digest(tmp_path, CODE)
    assert digest(tmp_path, CODE.replace("0.5", "0.25")) != first
    assert digest(tmp_path, CODE) == first


def test_the_order_of_the_files_does_not_matter(tmp_path: Path):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text(f"{file.stem} = 1\n", encoding="utf-8")
    assert code_digest(files) == code_digest(reversed(files))
