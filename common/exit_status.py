"""Exit status of a command: 0, 2 for a user's mistake in one line, 130 for an interrupt; a bug keeps its traceback."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from common.errors import UserError
from common.interrupts import INTERRUPTED, STOPPED
from common.processes import command_signals

USER_ERROR = 2
OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError")  # of TensorFlow and PyTorch, which are not imported here
OUTSIDE_OUR_HANDS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),  # the disk, its quota, the largest file that is allowed
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP),
}


@contextmanager
def exit_status() -> Iterator[None]:
    """Exit status of a block: 2 and one line for a user's mistake, 130 for an interrupt; a bug keeps its traceback."""
    try:
        with command_signals() as was_interrupted:
            try:
                yield
                sys.stdout.flush()
            except Exception:
                if was_interrupted():  # a library's own exception for it, such as that of an import that was broken off
                    raise KeyboardInterrupt from None
                raise
    except UserError as error:
        _refuse(str(error))
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        _drop_output()
    except OSError as error:
        if error.errno not in OUTSIDE_OUR_HANDS:
            raise
        if error.filename is None:
            _drop_output()
        _refuse(f"{error.filename or 'standard output'}: {error.strerror}")
    except Exception as error:
        if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # Path.resolve
            _refuse(f"{error}: expected a file or folder; received a link that leads back to itself; remove it")
        if not (isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY):
            raise
        reason = next(iter(str(error).splitlines()), "") or "no details"
        advice = "take smaller patches, batches, scans or networks (model.filters of the config or run), or fewer --workers"
        _refuse(f"too little memory ({reason[:200]}); {advice}")
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED)


def _drop_output() -> None:
    """Send what is left of standard output to nowhere, so that it is not tried once more at the end of the process."""
    with suppress(OSError):  # an output without a file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(message: str) -> NoReturn:
    with suppress(OSError):  # errors may go to the same full disk
        print("\n".join(f"error: {line}" for line in message.splitlines()), file=sys.stderr)
    sys.exit(USER_ERROR)
