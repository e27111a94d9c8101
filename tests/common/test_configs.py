import pytest

from common import configs
from common.configs import CONFIGS, config_names, find_config
from common.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without a folder of configs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["glioma/train_best", "glioma/train_best.yaml", "configs/glioma/train_best.yaml"])
def test_a_shipped_config_is_found_by_name_from_any_folder(name):
    assert find_config(name) == CONFIGS / "glioma" / "train_best.yaml"


def test_an_existing_path_wins(elsewhere):
    own = elsewhere / "glioma" / "train_best.yaml"
    own.parent.mkdir()
    assert find_config("glioma/train_best.yaml") == CONFIGS / "glioma" / "train_best.yaml"
    own.touch()
    assert find_config("glioma/train_best.yaml").resolve() == own
    assert find_config(own) == own
    assert find_config("glioma/train_best") == CONFIGS / "glioma" / "train_best.yaml"


def test_a_folder_of_the_name_is_no_config(elsewhere):
    (elsewhere / "glioma" / "train_best").mkdir(parents=True)
    assert find_config("glioma/train_best").is_file()


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("glioma/tran_best", "did you mean glioma/train_best"),
        ("configs/glioma/tran_best.yaml", "did you mean glioma/train_best"),
        ("synthetic/nope", "; those in synthetic are synthetic/data, synthetic/phantom, synthetic/study, synthetic/train"),
        ("train_best_3d", "did you mean glioma/train_best_3d"),
        ("/somewhere/train_grade.yaml", "did you mean lower_grade_glioma/train_grade?"),
        ("qqqq", f"shipped: {', '.join(config_names()[:3])} and others in {CONFIGS}"),
        ("synthetic", "received a folder; those in it are synthetic/data, synthetic/phantom"),
    ],
)
def test_another_name_is_one_line_with_similar_ones(name, offered):
    with pytest.raises(UserError) as error:
        find_config(name, "post-processing")
    assert str(error.value).startswith(f"{name}: ")
    assert "post-processing" in str(error.value)
    assert offered in str(error.value)
    assert "\n" not in str(error.value)


def test_configs_of_the_wanted_kind_alone_are_offered():
    with pytest.raises(
        UserError, match=r"rules not found; expected a YAML file or the name of a shipped one; shipped: skull_base/series$"
    ):
        find_config("own.yaml", "rules", among="series")


def test_all_shipped_configs_are_named():
    names = config_names()
    assert names == sorted(set(names))
    assert len(names) == len(list(CONFIGS.rglob("*.yaml"))) > 20
    assert all(find_config(name).is_file() for name in names)


def test_names_are_those_below_one_folder(tmp_path, monkeypatch):
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "train.yaml").touch()
    (tmp_path / "system" / "notes.txt").touch()
    monkeypatch.setattr(configs, "CONFIGS", tmp_path)
    assert config_names() == ["system/train"]
