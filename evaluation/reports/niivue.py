"""NiiVue, the viewer of volumes in web pages: its JavaScript module, a file of the package ipyniivue (BSD-2-Clause).

The package is not imported. Its notebook widget can save a page that works without a network, and for that it holds NiiVue's
own module once more, as a percent-encoded text.
"""

import re
from urllib.parse import unquote

from common.errors import UserError
from common.packages import PackagedFile

FILE = PackagedFile("ipyniivue", "ipyniivue/static/widget.js", "scans in reports", "the JavaScript of NiiVue")
ENCODED = re.compile(r"[\"`]((?:[\w\-.!~*'()]|%[0-9A-F]{2}){100000,})[\"`]", re.ASCII)
EXPORTS = ("Niivue", "NVImage", "SLICE_TYPE")


def niivue_module() -> str:
    """JavaScript module of NiiVue, which exports `Niivue` and `NVImage`; 2.4 MB.

    Raises:
        MissingPackage: the package is not installed.
        UserError: its file is damaged, or of a version that holds no such module.
    """
    path = FILE.verified()
    found = ENCODED.search(path.read_text(encoding="utf-8"))
    module = unquote(found[1]) if found else ""
    exports = module.rpartition("export{")[2]
    if not all(re.search(rf"\b{name}\b", exports) for name in EXPORTS):
        raise UserError(f"{path}: expected a module that exports {', '.join(EXPORTS)}; found none; {FILE.advice}")
    return module
