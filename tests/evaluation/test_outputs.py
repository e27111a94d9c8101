import json
import shutil

import pytest

from common.errors import UserError
from evaluation.outputs import FILE, claim, folder_origin


def test_outputs_of_something_else_are_not_overwritten(tmp_path):
    out, run, other = tmp_path / "out", tmp_path / "a", tmp_path / "b"
    claim(out, {"scores": [folder_origin("run", run, out)]})
    claim(out, {"scores": [folder_origin("run", run, out)], "curves": [folder_origin("run", other, out)]})
    assert list(json.loads((out / FILE).read_text())) == ["scores", "curves"]
    before = (out / FILE).read_bytes()
    with pytest.raises(UserError, match=rf"{out}: holds scores of run {run}; choose another --out, or remove them"):
        claim(out, {"curves": [folder_origin("run", other, out)], "scores": [folder_origin("run", other, out)]})
    assert (out / FILE).read_bytes() == before


def test_what_is_moved_together_keeps_its_origin(tmp_path):
    run = tmp_path / "run"
    claim(run / "scores", {"scores": [folder_origin("run", run, run / "scores")]})
    moved = shutil.move(run, tmp_path / "moved")
    claim(moved / "scores", {"scores": [folder_origin("run", moved, moved / "scores")]})


def test_what_a_killed_command_left_half_written_is_removed_from_the_folder_alone(tmp_path):
    kept = [tmp_path / ".tmp_notes", tmp_path / "mine" / ".tmp12.table.csv"]
    for path in (*kept, left := tmp_path / ".tmp12.table.csv"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    claim(tmp_path, {"scores": [folder_origin("run", tmp_path / "a", tmp_path)]})
    assert not left.exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("content", ["[]", '{"scores": 3}', '{"scores": [1]}'])
def test_a_damaged_file_is_refused_in_a_line(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError) as error:
        claim(tmp_path, {"scores": [folder_origin("run", tmp_path, tmp_path)]})
    assert "\n" not in str(error.value)
