"""Devices of this machine, and the number formats that they are fast in."""

import os
import platform
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]


def chosen_precision(precision: Precision) -> Precision:
    """Precision to train in: `auto` takes mixed_bfloat16 where the hardware multiplies bfloat16, else float32."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if _gpu_has_bfloat16() or (not gpus() and _cpu_has_bfloat16()) else "float32"


def gpus() -> list[str]:
    """Names of the GPUs that the Keras backend lists."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    return []


def device() -> str:
    """Devices and backend of the training, as printed and stored in the run."""
    import keras

    found = gpus()
    name = ", ".join(found) if found else f"CPU ({platform.processor() or platform.machine()}, {cores()} cores)"
    return f"{name}; Keras {keras.version()} on {keras.backend.backend()}"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu_has_bfloat16() -> bool:
    """True where every GPU is of compute capability 8 (Ampere) or later."""
    import keras

    if not gpus():
        return False
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
        return all(detail.get("compute_capability", (0, 0))[0] >= 8 for detail in details)
    import jax

    return all(float(getattr(gpu, "compute_capability", 0) or 0) >= 8 for gpu in jax.devices() if gpu.platform == "gpu")


def _cpu_has_bfloat16() -> bool:
    """True where the processor multiplies matrices of bfloat16 (AMX), and the backend makes use of it.

    AVX-512 BF16 alone is slower than float32: 2D UNets trained 0.45 to 0.55 times as many slices a second.
    """
    import keras

    information = Path("/proc/cpuinfo")
    if keras.backend.backend() != "tensorflow" or not information.is_file():
        return False
    flags = information.read_text(encoding="utf-8", errors="replace")
    return "amx_bf16" in flags
