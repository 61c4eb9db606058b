"""Bytes in and out of files, standard input and standard output.

A file is written beside its target under a hidden name and then moved over it: whatever goes wrong,
the target is either what it was before or complete (docs/FILES.md). ``-`` stands for standard input
or output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING, cast

from sadcodec.errors import InputError, LimitError, OutputError, SadError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

STANDARD = "-"
MAX_STREAM = 1 << 30  # bytes of a pipe or device, which may have no end

_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_PIECE = 1 << 20
_TOKEN = 6  # random bytes in the name of a temporary file


def output_name(path: str) -> str:
    """Return a path, or ``-`` for the system's own names of standard output.

    Written to by such a name, a file that the shell opened would be replaced by another one.
    """
    return STANDARD if path in _STDOUT else path


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Put the name of a file in front of this package's errors."""
    try:
        yield
    except SadError as error:
        raise type(error)(f"{path}: {error}") from error


def read_input(path: str) -> bytes:
    """All bytes of a file, or of standard input for ``-``.

    Raises
    ------
    InputError
        If it is missing, a folder, or unreadable, or was written to meanwhile; or if standard
        input is a terminal.
    LimitError
        If it is a pipe or a device, and gives more than `MAX_STREAM` bytes.
    """
    try:
        if path == STANDARD:
            if sys.stdin is None:
                raise InputError("standard input is closed")
            stream = cast("io.BufferedReader", sys.stdin.buffer)
            if stream.isatty():
                raise InputError("is a terminal: name a file, or give the data through a pipe")
            return _read_stream(stream)
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return _read_stream(file)
            data = file.read()
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(_cause(error)) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError("changed while it was read")
    return data


def _read_stream(stream: io.BufferedReader) -> bytes:
    # In pieces: a Ctrl-C that falls between two of the system's reads would wait for the end of
    # one big read().
    pieces, left = [], MAX_STREAM
    while piece := stream.read1(_PIECE):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise LimitError(f"gives more than {MAX_STREAM} bytes")
    return b"".join(pieces)


def check_output(path: str, *, force: bool = False, source: str | None = None) -> None:
    """Refuse a target early, before minutes are spent on what would be written to it.

    Parameters
    ----------
    path : str
        The file to be written, or ``-``.
    force : bool
        Allow an existing file to be replaced, and binary data to go to a terminal.
    source : str or None
        The file that is read: never replaced, with or without ``force``.

    Raises
    ------
    OutputError
        If the target is a folder, exists already, is write-protected or is the source, or if its
        folder is missing or read-only.
    """
    if path == STANDARD:
        if sys.stdout is None:
            raise OutputError("standard output is closed")
        if not force and sys.stdout.isatty():
            raise OutputError("not writing binary data to a terminal (--force does)")
        return
    try:
        if not path:  # not the folder that one is in
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        status = _status(path)
        if status is None:
            _check_folder(path)
            return
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            return  # a device or a pipe: nothing there to lose
        if source not in (None, STANDARD) and _same_file(path, str(source)):
            raise OutputError("is the input file; choose another name")
        if not force:
            raise OutputError("exists already (--force replaces it)")
        _check_folder(path)
        _check_replaceable(path)
    except (OSError, ValueError) as error:
        raise OutputError(_cause(error)) from error


def _check_folder(path: str) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    _check_access(folder, os.W_OK | os.X_OK)


def _check_replaceable(path: str) -> None:
    # Moving a file over it would ask for the folder's permission only.
    _check_access(path, os.W_OK)


def _check_access(path: str, mode: int) -> None:
    if not os.access(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_output(path: str, data: bytes, *, force: bool = False) -> None:
    """Write a file whole or not at all, or write to standard output for ``-``.

    Parameters
    ----------
    path : str
        Target, or ``-``. A symbolic link is followed; devices and pipes are written in place. A
        file that is replaced keeps its permission bits.
    data : bytes
        The whole content.
    force : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        If it cannot be written; the target is then as it was, and no temporary file stays.
    BrokenPipeError
        If the reader of standard output went away: not an error to report.
    """
    if path == STANDARD:
        write_stdout(data)
        return
    try:
        status = _status(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            # Replacing /dev/null or a named pipe by a regular file would be a bad surprise.
            with open(path, "wb") as file:
                file.write(data)
        else:
            if status is not None and force:
                _check_replaceable(path)
            mode = stat.S_IMODE(status.st_mode) if status is not None else None
            _write_beside(os.path.realpath(path), data, force, mode)
    except FileExistsError as error:
        raise OutputError("exists already (--force replaces it)") from error
    except (OSError, ValueError) as error:
        raise OutputError(_cause(error)) from error


def write_stdout(data: bytes) -> None:
    """Write bytes to standard output and flush; raises as :func:`write_output` does."""
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.flush()
        left = memoryview(data)
        while left:  # unbuffered (python -u), a write may take a part and say so only by its number
            taken = sys.stdout.buffer.write(left)
            if taken is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[taken:]
        sys.stdout.buffer.flush()
    except OSError as error:
        drop_stdout()
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(_cause(error)) from error


def drop_stdout() -> None:
    """Give up standard output, which has failed.

    The rest in its buffer would fail again, noisily, when the interpreter flushes it at exit.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def remove_leftovers(path: str) -> None:
    """Remove what killed processes left of a file that they were writing by :func:`write_output`.

    Not while another process writes that file. What cannot be removed stays.
    """
    folder, name = os.path.split(os.path.realpath(path))
    prefix, suffix = _temporary_name(name)
    with contextlib.suppress(OSError):
        for each in os.listdir(folder):
            middle = each[len(prefix) : -len(suffix)]
            ours = len(middle) == 2 * _TOKEN and not middle.strip("0123456789abcdef")
            if ours and each == prefix + middle + suffix:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, each))


def _temporary_name(name: str) -> tuple[str, str]:
    """Return what stands before and after the random part of a temporary file's name."""
    # A long name plus our suffix could pass the file system's limit of 255 bytes.
    return f".{name[:40]}.", ".part"


def _write_beside(target: str, data: bytes, force: bool, mode: int | None) -> None:
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, secrets.token_hex(_TOKEN).join(_temporary_name(name)))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # Nobody else may read what will replace a file that nobody else could read.
        handle = os.open(temporary, flags, 0o666 if mode is None else 0o600)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None and hasattr(os, "fchmod"):
                with contextlib.suppress(OSError):  # file systems without permission bits
                    os.fchmod(file.fileno(), mode & 0o777)
            os.fsync(file.fileno())
        if not force and _link(temporary, target):
            return
        if not force and os.path.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.replace(temporary, target)
    finally:  # also on KeyboardInterrupt; after a successful move there is nothing to remove
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _link(temporary: str, target: str) -> bool:
    """Add the final name unless it is taken (FileExistsError); False where there are no links."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


def _cause(error: Exception) -> str:
    """The system's words without the path and the number: the caller names the file."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
