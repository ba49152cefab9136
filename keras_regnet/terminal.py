"""What command lines print."""

import os
import sys


def show(text: str) -> None:
    """Prints a text; ends the process in silence if nobody reads on.

    As behind `| head`, which closes the pipe when it has its lines.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes at its end, and would complain once more.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        sys.exit(1)
