import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.hardware.backend import load_backend

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["torch", "numpy", "openvino", "tensorflw"])
def test_another_backend_is_one_line(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(UserError, match=f"^KERAS_BACKEND={name}: expected tensorflow or jax$"):
        load_backend()


def test_a_backend_that_is_not_installed_is_named(tmp_path):
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError(\"No module named 'jax'\", name='jax')\n")
    program = "from common.hardware.backend import load_backend\ntry: load_backend()\nexcept Exception as error: print(error)"
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "KERAS_BACKEND=jax needs the package 'jax': pip install jax\n"), done.stderr
