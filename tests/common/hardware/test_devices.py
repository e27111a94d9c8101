"""Devices and number formats; GPUs and processors are stand-ins."""

import os
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from common.hardware import devices

WITH = "flags : fpu avx2 avx512f {} sse2\n"


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """`processor(flag)`: a machine whose /proc/cpuinfo lists a flag; None: without the file."""

    def set_flag(flag):
        file = tmp_path / "cpuinfo"
        if flag is not None:
            file.write_text(WITH.format(flag))
        monkeypatch.setattr(devices, "Path", lambda name: file if name == "/proc/cpuinfo" else pytest.fail(name))

    return set_flag


@pytest.fixture
def tensorflow_gpus(monkeypatch):
    """`tensorflow_gpus({name: compute capability})`: TensorFlow lists these GPUs."""

    def set_gpus(capabilities):
        found = [SimpleNamespace(name=f"/physical_device:GPU:{index}") for index in range(len(capabilities))]
        details = [
            {"device_name": name} | ({} if capability is None else {"compute_capability": capability})
            for name, capability in capabilities.items()
        ]
        monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found if kind == "GPU" else [])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details[found.index(device)])

    return set_gpus


@pytest.fixture
def jax_gpus(monkeypatch):
    """`jax_gpus({name: compute capability})`: the backend is JAX, and lists these GPUs and a CPU."""
    jax = pytest.importorskip("jax")

    def set_gpus(capabilities):
        found = [SimpleNamespace(platform="cpu", device_kind="cpu")]
        for name, capability in capabilities.items():
            found.append(SimpleNamespace(platform="gpu", device_kind=name, compute_capability=capability))
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        monkeypatch.setattr(jax, "devices", lambda: found)

    return set_gpus


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_chosen_format_stays(precision):
    assert devices.chosen_precision(precision) == precision


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("avx512_bf16", "float32"), ("amx_bf16", "mixed_bfloat16"), ("avx512_vnni", "float32"), (None, "float32")],
)
def test_without_gpu_the_flags_of_the_processor_decide(tensorflow_gpus, processor, flag, expected):
    tensorflow_gpus({})
    processor(flag)
    assert devices.chosen_precision("auto") == expected


GPUS = [
    ({"A100": (8, 0)}, "mixed_bfloat16"),
    ({"H100": (9, 0), "A100": (8, 0)}, "mixed_bfloat16"),
    ({"V100": (7, 0)}, "float32"),
    ({"A100": (8, 0), "T4": (7, 5)}, "float32"),
    ({"unknown": None}, "float32"),
]


@pytest.mark.parametrize(("capabilities", "expected"), GPUS)
def test_the_oldest_gpu_decides_whatever_the_processor_has(tensorflow_gpus, processor, capabilities, expected):
    tensorflow_gpus(capabilities)
    processor("amx_bf16")
    assert devices.gpus() == list(capabilities)
    assert devices.chosen_precision("auto") == expected


@pytest.mark.parametrize(("capabilities", "expected"), GPUS)
def test_the_gpus_of_jax_decide_in_the_same_way(jax_gpus, processor, capabilities, expected):
    jax_gpus({name: capability and ".".join(map(str, capability)) for name, capability in capabilities.items()})
    processor("amx_bf16")
    assert devices.gpus() == list(capabilities)
    assert devices.chosen_precision("auto") == expected


def test_jax_makes_no_use_of_bfloat16_on_processors(jax_gpus, processor):
    jax_gpus({})
    processor("amx_bf16")
    assert devices.chosen_precision("auto") == "float32"


def test_the_devices_are_named_for_people(tensorflow_gpus):
    tensorflow_gpus({"NVIDIA A100": (8, 0), "NVIDIA T4": (7, 5)})
    assert devices.device() == f"NVIDIA A100, NVIDIA T4; Keras {keras.version()} on tensorflow"
    tensorflow_gpus({})
    assert devices.device().startswith("CPU (")
    assert f", {devices.cores()} cores); Keras" in devices.device()


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5} if process == 0 else pytest.fail(process))
        assert devices.cores() == 3
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert devices.cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert devices.cores() == 1
