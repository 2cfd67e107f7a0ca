"""The door of every command: a user's mistakes end in one line and exit code 2, an interruption loses nothing."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from space.errors import UserError

OK, FAILED, INTERRUPTED = 0, 2, 130


def exit_code_of(action: Callable[[], None]) -> int:
    """Run a command's action and turn the errors that a user can mend into one line on stderr and an exit code."""
    try:
        action()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped; everything finished so far is kept, the same command continues", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        # Without a file name it is no matter of the user's files, and the traceback is worth having.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) and error.filename is None:
            raise
        print(f"error: {error.filename or 'disk'}: {error.strerror}; free some space or choose another --out, then run again", file=sys.stderr)
        return FAILED
    return OK
