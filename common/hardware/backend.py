"""Loading the Keras backend without its start-up chatter."""

import atexit
import ctypes
import gc
import os
import sys
import tempfile
from contextlib import suppress
from logging import getLogger

from common.errors import MissingPackage, UserError
from common.hardware.devices import cores
from common.processes import deferred_interrupts

BACKENDS = ("tensorflow", "jax")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def load_backend() -> None:
    """Import Keras and its backend, the messages that the backend's C++ code prints on the way kept back.

    Commands call this first, once their input has been checked. TensorFlow writes them to the process's standard error
    before any of its settings can stop it; where the import fails they are printed, because then they matter.

    Raises:
        UserError: KERAS_BACKEND names a backend that the toolkit does not run on, or one that is not installed.
    """
    chosen = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if chosen not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={chosen}: expected {' or '.join(BACKENDS)}")
    # Convolutions of volumes are an order of magnitude faster with oneDNN, which TensorFlow leaves off on AVX2 processors.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 2 lets oneDNN complain of float16, which is converted anyway
    _keep_freed_memory()
    if "keras" not in sys.modules:
        atexit.register(gc.freeze)  # the interpreter would look for garbage in a framework's objects before it ends: seconds
    sys.stderr.flush()
    kept = os.dup(2)
    with deferred_interrupts(), tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import keras
            from absl import logging

            logging.set_verbosity(logging.ERROR)  # Grain warns where JAX, which it does without, is missing
            getLogger("tensorflow").setLevel("ERROR")  # warns where several networks are traced, one after the other
            _fix_threads(keras.backend.backend())
            keras.ops.zeros(1)
        except ModuleNotFoundError as error:
            if error.name in BACKENDS:
                raise MissingPackage(error.name, f"KERAS_BACKEND={error.name}") from None
            raise
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _keep_freed_memory() -> None:
    """Have the C library keep freed blocks for the next step instead of giving each back to the system.

    A training step on a CPU takes and frees the same large tensors over and over. By default glibc maps and unmaps them, and
    the system clears every page anew: up to two fifths of a step's CPU time where page faults are dear (virtual machines).
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            set_option = ctypes.CDLL(None).mallopt
            for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20)):
                set_option(option, value)


def _fix_threads(backend: str) -> None:
    """Have TensorFlow use all cores, a number that is stored with the run: sums over threads depend on it in the last bit."""
    if backend == "tensorflow":
        import tensorflow as tf

        with suppress(RuntimeError):  # a program that has used TensorFlow before has settled this
            tf.config.threading.set_intra_op_parallelism_threads(cores())
