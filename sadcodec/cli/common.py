"""What the commands share: errors with a file name, notes, names of outputs, JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import IO, Any

import click

from sadcodec import files
from sadcodec.errors import BackendWarning, SadError

SOME_FAILED = 3  # exit status when some of several files failed
METADATA = {"icc_profile": "ICC profile", "exif": "Exif", "xmp": "XMP"}


class Failure(click.ClickException):
    """One line on standard error: the file, or what else failed, and the cause."""

    exit_code = 1

    def __init__(self, *parts: str) -> None:
        super().__init__(": ".join(parts))
        self.cause = parts[-1]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(one_line(f"sad: {self.message}"), file=file, err=file is None)


def one_line(text: str) -> str:
    """Text with line breaks and control characters (of odd file names) made visible."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )


@contextlib.contextmanager
def blame(path: str, standard: str = "stdin") -> Iterator[None]:
    """Turn this package's errors, and a lack of memory, into a Failure that names the file."""
    name = shown(path, standard)
    try:
        yield
    except SadError as error:
        raise Failure(name, str(error) or type(error).__name__) from error
    except MemoryError as error:
        raise Failure(name, "not enough memory") from error


def load_backend(name: str, task: str, quiet: bool) -> None:
    """Load what --backend names, before any image is read.

    What is missing becomes a Failure; that a default GPU cannot be used becomes a note.
    """
    from sadcodec import codec

    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, BackendWarning):
                note(f"sad: note: {message}", quiet)
            else:
                show(message, category, *rest)

        warnings.showwarning = tell  # type: ignore[assignment]
        warnings.simplefilter("always", BackendWarning)
        try:
            codec.load_backend(name, task)
        except SadError as error:
            raise Failure(str(error)) from error


def shown(path: str, standard: str = "stdin") -> str:
    """A file as people are told of it."""
    return standard if path == files.STANDARD else click.format_filename(path) or "''"


def output_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Click's callback for the name of an output; ``/dev/stdout`` is ``-``."""
    return None if value is None else files.output_name(value)


def check_output(path: str, sources: Sequence[str], *, force: bool) -> None:
    """Refuse an output that cannot be written or is one of several sources; a Failure names it."""
    with blame(path, "stdout"):
        for source in sources or (None,):
            files.check_output(path, force=force, source=source)


def output_beside(path: str, suffix: str) -> str:
    """The default output: the input with another suffix, in the same folder; ``-`` for ``-``."""
    return path if path == files.STANDARD else os.path.splitext(path)[0] + suffix


def note(text: str, quiet: bool) -> None:
    """A line for people, on standard error."""
    if not quiet:
        with contextlib.suppress(OSError):
            click.echo(one_line(text), err=True)


def note_profile(source: str, quiet: bool) -> None:
    """Warn of a source whose ICC profile, or lack of one, is not that of its file."""
    note(f"sad: {shown(source)}: warning: the file has another ICC profile, or none", quiet)


def json_line(record: dict[str, Any]) -> bytes:
    """One line of strict JSON: NumPy scalars as numbers, what is not finite as null."""
    return (json.dumps(_plain(record), allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value


def report_json(record: dict[str, Any], data_on_stdout: bool) -> None:
    """Print a JSON line on standard output, or on standard error if the data itself goes there."""
    line = json_line(record)
    if data_on_stdout:
        with contextlib.suppress(OSError):
            click.echo(line, err=True, nl=False)
    else:
        with blame(files.STANDARD, "stdout"):
            files.write_stdout(line)
