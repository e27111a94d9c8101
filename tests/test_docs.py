"""Documents agree with the project: the page on Python runs, links lead somewhere, commands and their options exist."""

import re
import sys

import keras
import nibabel
import numpy as np
import pytest

from common import cli
from common.errors import UserError
from tests import documents
from tests.documents import DOCUMENTS, ROOT, blocks, command_problems, link_problems, path_problems

PYTHON = ROOT / "docs" / "python.md"
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.fixture(scope="module")
def page(records, trained, source, tmp_path_factory):
    """Namespace in which the blocks of docs/python.md have run, one after the other, in a folder of its own."""
    folder = tmp_path_factory.mktemp("python")
    paths = {"RECORDS": records, "RUN": trained, "SOURCE": source, "OUT": folder / "from_python"}
    namespace = {"__name__": "docs_python"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        found = [block for block in blocks(PYTHON.read_text(encoding="utf-8")) if block.language == "python"]
        for number, block in enumerate(found):
            first = block.text.partition("\n")[0]
            if first.startswith("# ") and first.endswith(".py"):  # a file that the reader saves
                (folder / first.removeprefix("# ")).write_text(block.text)
            elif "import tensorflow" not in block.text or keras.backend.backend() == "tensorflow":
                # The line breaks in front make tracebacks name the lines of the page.
                exec(compile("\n" * (block.line - 1) + block.text, str(PYTHON), "exec"), namespace)
            if number == 0:
                assert set(paths) <= set(namespace)
                namespace |= paths
        sys.modules.pop("my_networks", None)
    return namespace


def test_the_page_on_python_runs(page):
    assert page["records"].path == page["RECORDS"]
    assert page["two"].shard(page["train"][0]).image.shape[-1] == 2
    assert page["native"].shape == page["case"].geometry.shape
    assert len(page["history"].history["loss"]) == 1
    assert page["summary"].low < page["summary"].mean < page["summary"].high
    assert page["new_image"].shape == page["image"].shape
    assert page["own"].output["segmentation"].shape[-1] == len(page["names"])
    assert (page["OUT"] / "run" / "best.weights.h5").is_file()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data and tf.function need TensorFlow as backend")
def test_its_reading_by_tf_data_gives_the_records(page):
    image, bits = next(iter(page["tf"].data.TFRecordDataset(page["shards"][0]).map(page["parse"]).batch(100)))
    np.testing.assert_array_equal(image.numpy(), page["shard"].image)
    np.testing.assert_array_equal(bits.numpy(), page["shard"].label)
    assert np.isfinite(float(page["value"]))


def test_its_prediction_is_that_of_the_command(page, command, tmp_path):
    (tmp_path / "case.txt").write_text(page["files"].id)
    options = ("--flips", "x", "--overlays", "false", "--cases", tmp_path / "case.txt", "--out", tmp_path / "out")
    done = command("evaluation.predict", "--runs", page["RUN"], "--source", page["SOURCE"], *options)
    assert done.status == 0, done.err
    written, expected = (nibabel.load(folder / f"{page['files'].id}.nii.gz") for folder in (page["OUT"], tmp_path / "out"))
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(written.affine, expected.affine)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".md")])
def test_links_and_named_files_exist(name):
    problems = [*link_problems(ROOT / name), *path_problems(ROOT / name)]
    assert not problems, "\n".join(["", *problems])


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_options_exist(name):
    problems = command_problems(ROOT / name)
    assert not problems, "\n".join(["", *problems])


@pytest.mark.parametrize("name", NAMES)
def test_each_command_takes_its_documented_arguments(name):
    for call in documents.calls(ROOT / name):
        config = documents.config_of_call(call)
        if config is not None and any(word.startswith("--") and word != "--help" for word in call.words):
            try:
                cli.parse(config, call.words)
            except UserError as error:
                pytest.fail(f"{documents.place(ROOT / name, call.line)}: {error}")


def test_calls_are_found():
    found = [call for path in DOCUMENTS for call in documents.calls(path)]
    assert len(found) > 80
    assert {"train", "predict", "score", "make_records", "cross_validate", "study"} <= {call.name for call in found}


WRONG = """# A page

Run `glioskull trian --epochs 3`, or `glioskull train
--epoch 3`. `glioskull COMMAND` stands for any.

    python -m training.train --config glioma/train_best --records R --out R \\
        --model.filter 3 --loss.gamma 2 | tee log --no-option   # --epoch
    glioskull train --loss.name focal --loss.gamma 2 --model.args.x 1 --model.name a.b:c
    glioskull train --config glioma/trian_best && python -m data_prep.nothing
    python -m pip install --upgrade pip
    glioskull make_records --config mine.yaml --print_config > x

```bash
glioskull cross_validate --train glioma/train_best --records R --out O --options 'phases=[{epochs: 1},
    {epochs: 2}]' epoch=2
```

Write `mine.yaml`, and see [here](gone.md), [there](page.md#a-page) and [nowhere](page.md#b).
Metrics are in `common/metrics/catalog.py`, or `common/metrics/catalogue.py`; heads in `training/heads/KIND.py`.
"""


def test_what_is_wrong_is_one_line_with_its_place(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(WRONG)
    assert sorted(command_problems(path), key=lambda line: int(re.match(r"page.md:(\d+): ", line)[1])) == [
        "page.md:3: no command trian; did you mean train?",
        "page.md:3: train: no option --epoch; did you mean --epochs?",
        "page.md:6: training.train: no option --model.filter; did you mean --model.filters or --model.l2 or --model.widths?",
        "page.md:6: training.train: no option --loss.gamma; did you mean --loss.name?",
        "page.md:9: train: --config glioma/trian_best: config not found; expected a YAML file or the name of a shipped one; "
        "did you mean glioma/train_best or glioma/train_best_3d or glioma/train_unet?",
        "page.md:9: no command data_prep.nothing",
        "page.md:14: cross_validate: --options: no option --epoch; did you mean --epochs?",
    ]
    assert link_problems(path) == [
        "page.md:18: link to gone.md: no such file",
        "page.md:18: link to page.md#b: no such heading; those of page.md are a-page",
    ]
    assert path_problems(path) == ["page.md:19: common/metrics/catalog.py: no such file"]
