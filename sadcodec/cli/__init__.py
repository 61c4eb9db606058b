"""The command ``sad``: Click commands, nothing else.

Exit status: 0 done, 1 a one-line error, 2 wrong usage, 3 some of several images failed,
130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from sadcodec import __version__
from sadcodec.cli import signals
from sadcodec.cli.arguments import Commands
from sadcodec.cli.common import Failure, one_line
from sadcodec.cli.completion import completion
from sadcodec.cli.compose import compose
from sadcodec.cli.decode import decode
from sadcodec.cli.encode import encode
from sadcodec.cli.evaluate import evaluate
from sadcodec.cli.export import export
from sadcodec.cli.info import info
from sadcodec.cli.site_list import import_sites
from sadcodec.files import drop_stdout

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="sad %(version)s")
def sad() -> None:
    """Code images as soft anisotropic diagrams (.sad files).

    \b
    sad encode photo.png --bpp 0.5    writes photo.sad
    sad decode photo.sad              writes photo.png

    sad COMMAND -h lists the common options of a command, --help all of them. A file name of - is
    standard input or output. Exit status: 0 done, 1 error, 2 wrong usage, 3 some of several images
    failed, 130 interrupted.
    """  # noqa: D301 - \b is Click's


for _command in (
    encode,
    decode,
    info,
    compose,
    evaluate,
    export,
    import_sites,
    completion,
):
    sad.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors become one line on standard error."""
    try:
        with signals.raised():
            status = sad.main(arguments, prog_name="sad", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):  # Abort: what Click makes of the other
        sys.exit(_INTERRUPTED)
    except signals.Ended as end:
        sys.exit(end.status)
    except click.ClickException as error:
        with contextlib.suppress(OSError):  # nobody to tell
            error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # Click wrote help
            drop_stdout()
            with contextlib.suppress(OSError):
                Failure("stdout", os.strerror(errno.ENOSPC)).show()
            sys.exit(1)
        if os.environ.get("SAD_TRACEBACK"):
            raise
        with contextlib.suppress(OSError):
            click.echo(one_line(f"sad: internal error: {type(error).__name__}: {error}"), err=True)
            click.echo("sad: please report it; SAD_TRACEBACK=1 shows where it happened", err=True)
        sys.exit(1)
    sys.exit(status or 0)
