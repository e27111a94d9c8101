from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote

import pytest

from common.errors import UserError
from evaluation.reports import niivue


def installed():
    try:
        return version("ipyniivue")
    except PackageNotFoundError:
        return None


@pytest.fixture
def widget(tmp_path, monkeypatch):
    """File of a widget in the place of the package's."""
    file = tmp_path / "widget.js"
    monkeypatch.setattr(niivue.FILE.__class__, "verified", lambda self: file)
    return file


@pytest.mark.skipif(installed() is None, reason="ipyniivue is not installed")
def test_the_package_holds_the_module():
    module = niivue.niivue_module()
    assert len(module) > 1_000_000
    assert all(name in module.rpartition("export{")[2] for name in niivue.EXPORTS)


@pytest.mark.parametrize("quotes", ['"', "`"])
def test_the_encoded_module_of_a_widget_is_found(widget, quotes):
    module = f"var text='{'a b' * 50000}';export{{Niivue,NVImage,SLICE_TYPE}};"
    encoded = quote(module, safe="-_.!~*'()")
    widget.write_text(f"var other={quotes}x{quotes},esm={quotes}{encoded}{quotes};")
    assert niivue.niivue_module() == module


@pytest.mark.parametrize("text", ["", "var esm='short'", 'var esm="' + quote("x " * 100000 + "export{Other}") + '"'])
def test_another_file_is_refused(widget, text):
    widget.write_text(text)
    with pytest.raises(UserError, match=r"expected a module that exports Niivue, NVImage, SLICE_TYPE; found none; install"):
        niivue.niivue_module()
