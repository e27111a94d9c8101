"""Loading the Keras backend without its start-up chatter."""

import os
import sys
import tempfile
from contextlib import suppress

from training.precision import cores


def load_backend() -> None:
    """Import Keras and its backend, the messages that the backend's C++ code prints on the way kept back.

    Commands call this first, once their input is known to be right. TensorFlow writes them to the process's standard error
    before any of its settings can stop it; where the import fails they are shown, because then they matter.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import keras

            _fix_threads(keras.backend.backend())
            keras.ops.zeros(1)
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _fix_threads(backend: str) -> None:
    """Have TensorFlow use all cores, a number that is stored with the run: sums over threads depend on it in the last bit."""
    if backend == "tensorflow":
        import tensorflow as tf

        with suppress(RuntimeError):  # a program that has used TensorFlow before has settled this
            tf.config.threading.set_intra_op_parallelism_threads(cores())
