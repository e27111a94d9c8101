"""The table of unusual and bad DICOM input in docs/dicom_input.md is what `check` prints."""

from pathlib import Path

from tests.dicom_input import KINDS, table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dicom_input.md"


def test_the_table_of_the_page_is_what_is_printed(tmp_path):
    made = table(tmp_path)
    assert made.count("\n") == len(KINDS) + 1
    assert made in PAGE.read_text(encoding="utf-8")
    assert "Traceback" not in made
