"""Table of chosen heads: rows are kept by case, and a table of other heads is refused."""

import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from evaluation.heads.head_table import has_common_classes, read_head_table, write_head_table

HEADS = ["hgg", "mets"]
ROWS = {"b": ["b", "mets", "tumour is mets", 0.25, 0.5, 3, 40], "a": ["a", "hgg", "most confident", 0.75, 0.5, 12, 0]}


def test_rows_are_read_as_they_were_written_and_sorted(tmp_path):
    assert read_head_table(tmp_path, HEADS) == {}
    write_head_table(tmp_path, HEADS, ROWS)
    lines = (tmp_path / "heads.csv").read_text().splitlines()
    assert lines[0] == "case,head,rule,confidence_hgg,confidence_mets,voxels_hgg,voxels_mets"
    read = read_head_table(tmp_path, HEADS)
    assert list(read) == ["a", "b"]
    assert [float(cell) for cell in read["b"][3:]] == ROWS["b"][3:]
    write_head_table(tmp_path, HEADS, read)
    assert (tmp_path / "heads.csv").read_text().splitlines() == lines


@pytest.mark.parametrize("heads", [["hgg", "other"], ["mets", "hgg"], ["hgg", "mets", "third"]])
def test_a_table_of_other_heads_is_refused(tmp_path, heads):
    write_head_table(tmp_path, HEADS, ROWS)
    with pytest.raises(UserError, match=r"heads\.csv: expected the columns .*; received case,head,rule,confidence_hgg,"):
        read_head_table(tmp_path, heads)


def test_one_folder_holds_any_heads_prediction_where_their_classes_are_equal():
    schemas = [LabelSchema.load(name) for name in ("brats2023", "brats2023", "brats2024")]
    assert has_common_classes(schemas[:2])
    assert not has_common_classes(schemas)
