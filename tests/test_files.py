"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sadcodec import files
from sadcodec.errors import InputError, OutputError


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_write_and_read_back(tmp_path: Path) -> None:
    target = str(tmp_path / "a.bin")
    files.check_output(target)
    files.write_output(target, b"content")
    assert files.read_input(target) == b"content"
    assert names(tmp_path) == ["a.bin"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_output(str(tmp_path / "a.bin"), b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "a.bin").st_mode) == 0o640


def test_existing_file_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    for refuse in (files.check_output, lambda path: files.write_output(path, b"new")):
        with pytest.raises(OutputError, match="exists already"):
            refuse(str(target))
        assert target.read_bytes() == b"old"
    files.check_output(str(target), force=True)
    files.write_output(str(target), b"new", force=True)
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_without_hard_links_an_existing_file_still_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    target = tmp_path / "a.bin"
    files.write_output(str(target), b"one")
    assert target.read_bytes() == b"one"
    with pytest.raises(OutputError, match="exists already"):
        files.write_output(str(target), b"two")
    assert (names(tmp_path), target.read_bytes()) == (["a.bin"], b"one")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        files.write_output(str(target), b"new", force=True)
    assert names(tmp_path) == ["a.bin"]
    assert target.read_bytes() == b"old"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file size limits as on Linux")
def test_a_write_that_stops_half_way_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes makes the write fail after its first part, as a full disk does."""
    program = (
        "import resource, signal, sys; from sadcodec import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        "try: files.write_output(sys.argv[1], bytes(200000))\n"
        "except files.OutputError as error: print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.bin")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "refused: File too large"
    assert names(tmp_path) == []


@pytest.mark.parametrize("path", ["none/a.bin", "file/a.bin", "folder", "nul\0.bin", "n" * 300])
def test_impossible_targets(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    target = str(tmp_path) + "/" + path
    with pytest.raises(OutputError):
        files.write_output(target, b"x", force=True)
    if len(path) < 255:
        with pytest.raises(OutputError):
            files.check_output(target, force=True)
    assert names(tmp_path) == ["file", "folder"]


def test_the_longest_allowed_name_works(tmp_path: Path) -> None:
    files.write_output(str(tmp_path / ("n" * 255)), b"x")
    assert names(tmp_path) == ["n" * 255]


def test_a_read_only_folder_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permission bits do not bind the superuser
    with pytest.raises(OutputError, match="Permission denied"):
        files.check_output(str(tmp_path / "a.bin"))


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(source)
    for path in (source, tmp_path / "link.png", tmp_path / "." / "a.png"):
        with pytest.raises(OutputError, match="is the input file"):
            files.check_output(str(path), force=True, source=str(source))


def test_symbolic_links_are_followed_and_devices_written_in_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a.bin")
    files.write_output(str(tmp_path / "link"), b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.bin").read_bytes() == b"x"
    files.check_output(os.devnull)
    files.write_output(os.devnull, b"x")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)


def test_unreadable_inputs(tmp_path: Path) -> None:
    for path, cause in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(InputError, match=cause):
            files.read_input(str(path))


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    target = str(tmp_path / ("n" * 60 + ".csv"))
    code = "import os, sys; os.fsync = lambda _: os._exit(9); from sadcodec import files; "
    code += f"files.write_output({target!r}, b'half')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".nnn")
    others = [left.replace(".n", ".m"), left[:-5], left.replace(".part", "0.part"), "n.csv"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    files.remove_leftovers(target)
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    files.remove_leftovers(str(tmp_path / "missing/n.csv"))
