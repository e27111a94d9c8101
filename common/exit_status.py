"""Exit status of a command: 0, 2 for a user's mistake in one line, 130 for an interrupt; a bug keeps its traceback."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from common.errors import UserError
from common.processes import command_signals

USER_ERROR = 2
INTERRUPTED = 130
OUTSIDE_OUR_HANDS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


@contextmanager
def exit_status() -> Iterator[None]:
    """Exit status of a block: 2 and one line for a user's mistake, 130 for an interrupt; a bug keeps its traceback."""
    try:
        with command_signals():
            yield
    except UserError as error:
        _refuse(str(error))
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in OUTSIDE_OUR_HANDS:
            raise
        _refuse(f"{error.filename or 'writing'}: {error.strerror}")
    except MemoryError as error:
        _refuse(f"too little memory ({str(error) or 'no details'}); take smaller patches, batches or scans, or fewer --workers")
    except KeyboardInterrupt:
        print("stopped by the user; anything that was finished is kept", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _refuse(message: str) -> NoReturn:
    print("\n".join(f"error: {line}" for line in message.splitlines()), file=sys.stderr)
    sys.exit(USER_ERROR)
