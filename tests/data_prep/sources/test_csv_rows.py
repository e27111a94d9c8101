"""Tables as spreadsheets write them."""

import pytest

from common.errors import UserError
from data_prep.sources.csv_rows import read_rows


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_marks_and_newlines_of_spreadsheets_are_read(tmp_path, separator, mark, newline):
    lines = [["id", "grade"], ["a", " II "], [], ['"b"', ""]]
    text = mark + newline.join(separator.join(cells) for cells in lines) + newline
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_rows(tmp_path / "t.csv") == [{"id": "a", "grade": "II"}, {"id": "b", "grade": ""}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected different column names; received nothing"),
        ("a,a\n1,2\n", "line 1: expected different column names; received a, a"),
        ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 cells, as in the header; received 3"),
        ('a,b\n1,"2\n', "line 2: not a CSV table"),
    ],
)
def test_other_text_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "t.csv")
