"""Import paths out of files: which are imported, from where, and who has to accept them."""

import sys

import pytest

from common.errors import UserError
from common.trust import find_module, load_callable, refuse_objects, refuse_untrusted, trust_options, trust_own, trusting

WHERE = "--model.name x"
CODE = "def make(**options):\n    return options\n"
CANARY = "from pathlib import Path\nPath({!r}).touch()\n" + CODE


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder; what is imported from it is forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_name_out_of_a_runs_file_is_accepted_where_the_user_repeats_it(tmp_path):
    file = tmp_path / "config.yaml"
    refuse_untrusted("unet", file)
    with pytest.raises(UserError) as caught:
        refuse_untrusted("my_models:tiny", file)
    assert str(caught.value).startswith(f"{file}: model.name my_models:tiny is code that would be run")
    assert str(caught.value).endswith("add --trust my_models:tiny")
    with trusting(["my_models:tiny"]):
        refuse_untrusted("my_models:tiny", file)
        with pytest.raises(UserError):
            refuse_untrusted("my_models:other", file)
    with pytest.raises(UserError):
        refuse_untrusted("my_models:tiny", file)


def test_the_network_of_an_own_training_is_trusted_but_not_one_out_of_a_config_in_a_run(tmp_path):
    config = tmp_path / "config.yaml"
    with trusting(["z:z"]):
        trust_own("unet")
        trust_own("my_models:tiny", config)
        refuse_untrusted("my_models:tiny", config)
        assert trust_options() == ["--trust", "my_models:tiny", "--trust", "z:z"]
        (tmp_path / "run.json").touch()
        (tmp_path / "elsewhere").mkdir()
        link = tmp_path / "elsewhere" / "link.yaml"
        link.symlink_to(config)
        for place in (config, link):
            with pytest.raises(UserError, match="add --trust my_models:other"):
                trust_own("my_models:other", place)
    assert trust_options() == []


@pytest.mark.parametrize(
    "name", ["a", "a:", ":a", "a.b", "a:b.c", "a:b c", "a-b:c", "../a:b", "a:b\n", "a\x1b[1m:b", "a:b:c", ""]
)
def test_what_is_no_import_path_is_never_trusted(name):
    with pytest.raises(UserError, match=r"expected package\.module:callable"), trusting([name]):
        pass


@pytest.mark.parametrize(
    "name",
    [
        *("os:system", "logging:basicConfig", "builtins:eval", "pickle:loads", "subprocess:run", "importlib:import_module"),
        *("keras.saving:deserialize_keras_object", "keras.models:model_from_json", "keras:Sequential", "yaml:unsafe_load"),
        *(
            "keras.src.saving.saving_lib:load_model",
            "keras.layers:Lambda",
            "tensorflow:saved_model",
            "torch:load",
            "numpy:load",
        ),
    ],
)
def test_what_makes_no_network_is_refused_trusted_or_not(name, tmp_path):
    for refused in (lambda: refuse_untrusted(name, tmp_path), lambda: trusting([name]).__enter__()):
        with pytest.raises(UserError, match=r"expected a callable that makes a network; those of .* are never called"):
            refused()


def test_a_module_of_the_current_folder_is_imported_by_its_name_alone(here):
    (here / "mine_aa.py").write_text("from mine_bb import make\n")
    (here / "mine_bb.py").write_text(CODE)
    assert find_module("mine_aa:make", WHERE).origin == str(here / "mine_aa.py")
    assert "mine_aa" not in sys.modules
    assert load_callable("mine_aa:make", WHERE)(a=1) == {"a": 1}


@pytest.mark.parametrize("trusted", [False, True])
def test_a_module_in_a_run_or_a_namespace_package_is_not_imported(here, trusted):
    canary = here / "canary"
    run = here / "run_cc"
    for folder in (run / "inner_cc", here / "names_cc", here / "pack_cc" / "names"):
        folder.mkdir(parents=True)
        (folder / "payload_cc.py").write_text(CANARY.format(str(canary)))
    (run / "payload_cc.py").write_text(CANARY.format(str(canary)))
    (here / "pack_cc" / "__init__.py").touch()
    (run / "run.json").touch()
    for name, words in (
        ("run_cc.payload_cc:make", "run_cc is no regular package"),
        ("names_cc.payload_cc:make", "names_cc is no regular package"),
        ("pack_cc.names.payload_cc:make", "pack_cc.names is no regular package"),
    ):
        with trusting([name] if trusted else []), pytest.raises(UserError, match=words):
            load_callable(name, WHERE)
    (run / "__init__.py").write_text(CANARY.format(str(canary)))
    with pytest.raises(UserError, match="lies in the run"):
        load_callable("run_cc.payload_cc:make", WHERE)
    assert not canary.exists()


def test_a_function_of_a_framework_by_another_name_is_refused(here):
    lines = [
        "def make():",
        "    pass",
        "make.__module__ = 'keras.src.saving.serialization_lib'",
        "from functools import partial",
    ]
    lines += ["from logging import basicConfig", "other = partial(partial(basicConfig, level=1), force=True)", "number = 3"]
    (here / "mine_dd.py").write_text("\n".join(lines))
    for name, words in (("make", "keras"), ("other", "logging"), ("number", "found int"), ("none", "none")):
        with pytest.raises(UserError, match=words):
            load_callable(f"mine_dd:{name}", WHERE)


def test_arguments_are_plain_data():
    refuse_objects({"filters": 8, "sizes": [1, 2.5, (3, None)], "deep": {"name": "x", "on": True, "config": {}}}, "args")
    for value, words in (
        ({"layer": {"class_name": "Lambda", "config": {}}}, "names a class"),
        ({"layers": [{"class_name": "x", "module": "os"}]}, "names a class"),
        ({"a": {"class_path": "os.system"}}, "names a class"),
        ({"a": b"bytes"}, "received bytes"),
        ({"a": {3: 4}}, "expected keys that are texts; received 3"),
    ):
        with pytest.raises(UserError, match=f"^args: .*{words}"):
            refuse_objects(value, "args")
