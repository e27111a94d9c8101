import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from common import cli, configs
from common.choices import choice
from common.errors import UserError


@dataclass
class CircleConfig:
    """A circle."""

    name: str = "circle"
    """Which shape: circle."""
    radius: float = 1.0
    """In millimetres."""


@dataclass
class SquareConfig:
    """A square."""

    name: str = "square"
    """Which shape: square."""
    side: int = 2
    """In voxels."""
    corners: list[str] = field(default_factory=lambda: ["a", "b"])
    """Names."""


SHAPES = {"circle": f"{__name__}:CircleConfig", "square": f"{__name__}:SquareConfig"}


@dataclass
class InnerConfig:
    """Something inside."""

    size: tuple[int, int] | None = (4, 5)
    """Rows and columns."""
    mode: Literal["fast", "slow"] = "fast"
    """How."""
    marks: list[int] | None = None
    """Numbers."""
    rates: list[float] = field(default_factory=list)
    """Shares."""


@dataclass(kw_only=True)
class ExampleConfig:
    """Draw an example."""

    out: Path
    """Where the drawing goes."""
    names: list[str] | None = None
    """Whom it shows."""
    count: int = 3
    """How many."""
    shape: CircleConfig = choice(SHAPES, "circle")
    """What is drawn."""
    inner: InnerConfig = field(default_factory=InnerConfig)
    """What is inside."""


def parse(*arguments):
    return cli.parse(ExampleConfig, ["--out", "drawing", *arguments])


@pytest.fixture
def config_file(tmp_path):
    def write(content):
        path = tmp_path / "config.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_defaults_and_types():
    config = parse()
    assert isinstance(config, ExampleConfig)
    assert config.out == Path("drawing")
    assert config.shape == CircleConfig()
    assert config.inner == InnerConfig()
    assert parse("--inner.size=null").inner.size is None
    assert parse("--inner.size", "[6,7]").inner.size == (6, 7)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape.name", "square", "--shape.side", "7"],
        ["--shape.name=square", "--shape.side=7"],
        ["--shape.side", "7", "--shape.name", "square"],
        ['--shape={"name": "square", "side": 7}'],
    ],
)
def test_a_choice_takes_the_config_that_its_name_asks_for(arguments):
    config = parse(*arguments)
    assert isinstance(config.shape, SquareConfig)
    assert config.shape.side == 7
    assert config.count == 3


def test_a_choice_is_taken_from_a_file_and_overridden_by_what_comes_later(config_file):
    path = config_file({"shape": {"name": "square", "side": 5}})
    assert parse("--config", str(path)).shape == SquareConfig(side=5)
    assert parse("--config", str(path), "--shape.side", "6").shape == SquareConfig(side=6)
    assert parse(f"--config={path}").shape == SquareConfig(side=5)


def test_a_choice_by_another_name_leaves_no_option_of_the_default(config_file):
    with pytest.raises(UserError, match="radius"):
        parse("--shape.name", "square", "--shape.radius", "2")
    with pytest.raises(UserError, match=r"--shape\.name: expected one of circle, square; received 'oval'"):
        parse("--shape.name", "oval")
    with pytest.raises(UserError, match="'oval'"):
        parse("--config", str(config_file({"shape": {"name": "oval"}})))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--names", "Ann", "Bob"], ["Ann", "Bob"]),
        (["--names", "Ann", "--count", "1"], ["Ann"]),
        (["--names", "1", "true", "null"], ["1", "true", "null"]),
        (['--names=["Ann","Bob"]'], ["Ann", "Bob"]),
        (["--names", '["Ann"]'], ["Ann"]),
        (["--names", "a b", 'c"d'], ["a b", 'c"d']),
        ([], None),
    ],
)
def test_a_list_takes_its_items_as_words(arguments, names):
    assert parse(*arguments).names == names


@pytest.mark.parametrize(
    ("arguments", "marks"),
    [
        (["--inner.marks", "1", "2", "--count", "1"], [1, 2]),
        (["--inner.marks", "3"], [3]),
        (["--inner.marks", "[1, 2]"], [1, 2]),
        (["--inner.marks=[1]", "--inner.marks+", "4"], [1, 4]),
        (["--inner.marks", "null"], None),
    ],
)
def test_a_list_of_a_group_takes_its_items_as_words(arguments, marks):
    assert parse(*arguments).inner.marks == marks


def test_later_ones_win(config_file):
    path = config_file({"count": 10, "inner": {"mode": "slow"}})
    assert parse("--config", str(path), "--count", "11").count == 11
    assert parse("--count", "11", "--config", str(path)).count == 10
    kept = parse("--config", str(path), "--inner.size", "[1,2]").inner
    assert kept == InnerConfig(size=(1, 2), mode="slow")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cuont", "1"], "cuont"),
        (["--count", "many"], "count"),
        (["--inner.mode", "medium"], "mode"),
        (["--inner.size", "[1,2,3]"], "size"),
        (["--inner.depth", "1"], "depth"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["stray"], "stray"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, capsys):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cuont", "1"], "--cuont 1; did you mean --count?"),
        (["--inner.sise", "[1,2]"], "; did you mean --inner.size?"),
        (["--shape.radios", "1"], "; did you mean --shape.radius?"),
        (["--config", "glioma/tran_best"], "; did you mean glioma/train_best"),
        (["--shape", "square"], "a mapping of its options; received square; did you mean --shape.name square?"),
        (["--inner", "fast"], "--inner: expected a YAML file or a mapping of its options; received fast (see"),
        (["--shape", "nowhere.yaml"], "received nowhere.yaml (see"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(arguments, said):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"cuont": 1}, "option cuont is not known; did you mean count?"),
        ({"inner": {"depth": 1}}, "option inner.depth is not known"),
        ({"inner": {"mod": "fast"}}, "option inner.mod is not known; did you mean inner.mode?"),
        ({"shape": {"side": 1}}, "option shape.side belongs to shape.name square; received shape.name circle: leave it out"),
        ({"inner": 3}, "inner: expected a mapping of its options; received 3"),
        ({"count": "many"}, "--count: expected a whole number; received many"),
        ("count: [", "config is not YAML"),
        ("- 1\n", "expected a config"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(config_file, content, said):
    path = config_file(content)
    with pytest.raises(UserError) as error:
        parse("--config", str(path))
    assert str(error.value).startswith(f"{path}: {said}")
    assert "\n" not in str(error.value)


def test_a_mistake_in_a_group_of_options_is_that_of_the_option(tmp_path):
    with pytest.raises(UserError, match=r"^--shape\.radius: expected a number; received wide"):
        parse('--shape={"radius": "wide"}')
    path = tmp_path / "shape.yaml"
    path.write_text("radius: wide\n")
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: --shape\\.radius: expected a number; received wide"):
        parse("--shape", str(path))


def test_the_file_is_named_that_holds_the_mistake(config_file, tmp_path):
    right = tmp_path / "right.yaml"
    right.write_text("names: [a]\n")
    wrong = config_file({"count": "many"})
    with pytest.raises(UserError, match=f"^{re.escape(str(wrong))}: --count"):
        parse("--config", str(wrong), f"--config={right}")
    with pytest.raises(UserError, match=r"^--count: expected a whole number; received many"):
        parse("--config", str(right), "--count", "many")


def test_a_shipped_config_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "big.yaml").write_text("count: 30\nshape: {name: square}\n")
    monkeypatch.setattr(configs, "CONFIGS", tmp_path)
    for arguments in (["--config", "shapes/big"], ["--config=shapes/big"], ["--config", "configs/shapes/big.yaml"]):
        config = parse(*arguments)
        assert (config.count, config.shape) == (30, SquareConfig())


def test_help_lists_the_names_of_a_choice(capsys):
    for name, others in (("circle", []), ("square", ["--shape.name", "square"])):
        with pytest.raises(SystemExit):
            cli.parse(ExampleConfig, [*others, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert f"One of circle, square. The options below are those of {name}; --shape.name NAME --help" in shown


def test_option_names_are_those_of_the_choices_made(config_file):
    plain = {"config", "print_config", "help", "out", "count", "inner", "inner.size", "shape", "shape.name"}
    assert plain | {"shape.radius"} <= cli.option_names(ExampleConfig)
    chosen = plain | {"shape.side", "shape.corners"}
    for arguments in (["--shape.name", "square"], ["--config", str(config_file({"shape": {"name": "square"}}))]):
        names = cli.option_names(ExampleConfig, arguments)
        assert chosen <= names
        assert "shape.radius" not in names
    with pytest.raises(UserError, match="expected one of circle, square; received 'oval'"):
        cli.option_names(ExampleConfig, ["--shape.name", "oval"])


def test_the_usage_line_names_the_program(capsys):
    with pytest.raises(SystemExit):
        cli.parse(ExampleConfig, ["--help"], "draw example")
    assert capsys.readouterr().out.startswith("usage: draw example --out OUT [options]\n")


def test_a_command_is_named_as_users_type_it():
    assert cli.command_name("training.train") == "glioskull train"


def test_an_option_without_default_must_be_given():
    with pytest.raises(UserError, match="out"):
        cli.parse(ExampleConfig, [])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--shape.name", "square", "--shape.corners", "[]", "--inner.size=null"],
        ["--names", "1", "null", "--count", "-4", "--shape.radius", "1e-30"],
        ["--out", "a b/ü: #1", "--inner.mode", "slow"],
    ],
)
def test_a_config_comes_back_from_its_dict_and_from_its_file(arguments, tmp_path):
    config = parse(*arguments)
    values = cli.as_dict(config)
    assert cli.as_dict(cli.from_dict(ExampleConfig, values, Path("there"))) == values
    written = yaml.safe_load(yaml.safe_dump(values))
    back = cli.from_dict(ExampleConfig, written, Path("there"))
    assert (back.out, back.names, back.count, back.shape, back.inner) == (
        config.out,
        config.names,
        config.count,
        config.shape,
        config.inner,
    )


def test_a_plain_config_equals_what_comes_back_from_its_dict():
    config = InnerConfig(size=(9, 8), mode="slow")
    assert cli.from_dict(InnerConfig, cli.as_dict(config), Path("there")) == config


def test_an_error_in_a_stored_config_names_its_file():
    with pytest.raises(UserError, match=r"^run/config\.yaml: .*depth"):
        cli.from_dict(InnerConfig, {"depth": 3}, Path("run/config.yaml"))


def test_print_config_prints_what_can_be_read_again(capsys, config_file):
    with pytest.raises(SystemExit) as end:
        parse("--shape.name", "square", "--count", "8", "--print_config")
    assert end.value.code == 0
    again = parse("--config", str(config_file(capsys.readouterr().out)))
    assert (again.count, again.shape) == (8, SquareConfig())


def test_help_is_made_of_docstrings(capsys):
    with pytest.raises(SystemExit) as end:
        cli.parse(ExampleConfig, ["--shape.name", "square", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for text in ("Draw an example.", "Where the drawing goes.", "In voxels.", "Rows and columns.", "--inner.size"):
        assert text in shown
    assert "In millimetres." not in shown


def test_run_ends_well():
    seen = []
    cli.run(seen.append, ExampleConfig, ["--out", "x"])
    assert [config.out for config in seen] == [Path("x")]
