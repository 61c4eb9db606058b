"""Faults while files are read and written: what was there stays, and nothing half-written does."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import killed_encodes
import numpy as np
import pytest
from command_line import run_sad as sad
from symbol_samples import sample

import sadcodec
from sadcodec import bitstream, cli, files, image_io
from sadcodec.errors import InputError, LimitError, OutputError

unix = pytest.mark.skipif(os.name == "nt", reason="signals, pipes and permissions as on Unix")
_WAIT = 60.0  # seconds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with in.png, and in.sad of the same image."""
    monkeypatch.chdir(tmp_path)
    row, column = np.mgrid[0:24, 0:32]
    image = np.stack([8 * row, 8 * column, 4 * (row + column)], axis=2).astype(np.uint8)
    (tmp_path / "in.png").write_bytes(image_io.encode_image(image, "png"))
    data = sadcodec.encode(image, sites=20, effort=1, threads=1, backend="cpu")
    (tmp_path / "in.sad").write_bytes(data)
    return tmp_path


def environment() -> dict[str, str]:
    paths = [os.path.abspath(path) for path in sys.path if path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def names() -> list[str]:
    return sorted(os.listdir())


def picture() -> bytes:
    """The file that ``sad decode in.sad -o NAME.png`` writes."""
    decoded = sadcodec.decode(Path("in.sad").read_bytes())
    return image_io.encode_image(decoded, "png")


# ---- Signals ------------------------------------------------------------------------------------


@unix
def test_killed_encodes_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """`killed_encodes` as a script sends as many as one likes."""
    whole, seconds = killed_encodes.prepare(tmp_path)
    moments = random.Random(1)
    for number in (signal.SIGKILL, signal.SIGTERM):
        for writing in (False, True):
            moment = moments.uniform(0.0, 0.004 if writing else seconds)
            killed_encodes.kill_and_check(tmp_path, whole, number, moment, writing)
    killed_encodes.kill_and_check(tmp_path, whole, signal.SIGINT, 0.001, writing=True)


@unix
def test_signals_while_a_file_is_written(folder: Path) -> None:
    """Each comes when the temporary file is there, before it is moved."""
    program = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # ignored where nohup began it all
        "os.fsync = lambda _: time.sleep(60)\n"
        "from sadcodec.cli import main; main(sys.argv[1:])\n"
    )
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
    running = {}
    for number in numbers:
        out = f"{number.name}.png"
        Path(out).write_bytes(b"old")
        command = [sys.executable, "-c", program, "decode", "in.sad", "-o", out, "--force"]
        running[number] = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment())
    for number, process in running.items():
        with process:
            deadline = time.monotonic() + _WAIT
            while not list(folder.glob(f".{number.name}.png.*.part")):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(number)
            killed = number == signal.SIGKILL
            assert process.wait(timeout=_WAIT) == (-number if killed else 128 + number)
            assert process.stderr is not None
            assert process.stderr.read().strip() == b""
        assert Path(f"{number.name}.png").read_bytes() == b"old"
    (left,) = folder.glob(".*.part")
    assert left.name.startswith(".SIGKILL.png.")
    # What stays is no image to encode, and in no one's way.
    hidden = folder / "hidden"
    hidden.mkdir()
    left.rename(hidden / left.name)
    with pytest.raises(cli.common.Failure, match="holds no images"):
        cli.batch.sources_of([str(hidden)])
    assert sad("decode", "in.sad", "-o", "SIGKILL.png", "--force") == 0
    assert Path("SIGKILL.png").read_bytes() == picture()


@unix
def test_an_ignored_hangup_stays_ignored(folder: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cli.signals.raised():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(cli.signals.Ended):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- Outputs ------------------------------------------------------------------------------------


def _mounts() -> bool:
    """Whether a small file system can be made, by the superuser or in a namespace."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _mounts(), reason="no file system can be mounted here")
def test_a_full_disk(folder: Path) -> None:
    """Two real ones: three of four blocks are taken, or all files that there may be."""
    script = (
        "for options in size=16k nr_inodes=3; do\n"
        "  mkdir $options; mount -t tmpfs -o $options none $options; echo old > $options/out.png\n"
        "  head -c 12288 /dev/zero > $options/other\n"
        '  "$1" -m sadcodec decode in.sad -o $options/out.png --force\n'
        '  echo "$? $(cat $options/out.png) $(ls -A $options | xargs)"\n'
        "done\n"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", sys.executable],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert done.stdout == 2 * "1 old other out.png\n"
    lines = [line.split(": ", 1)[1] for line in done.stderr.splitlines()]
    full = "out.png: No space left on device"
    assert lines == [f"size=16k/{full}", f"nr_inodes=3/{full}"]


@unix
def test_a_write_that_fails_half_way(folder: Path) -> None:
    """A limit on file sizes stops it after 50 bytes, as a full disk does."""
    assert sad("export", "in.sad", "-o", "in.txt") == 0
    Path("out").write_bytes(b"old")
    before = names()
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        "from sadcodec.cli import main\n"
        "for command in ('encode in.png --sites 9 -e 1 --backend cpu', 'export in.sad',\n"
        "                'decode in.sad --format png', 'import in.txt -e 1 --backend cpu'):\n"
        "    try: main([*command.split(), '--output', 'out', '--force'])\n"
        "    except SystemExit as end: assert end.code == 1, command\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, 4 * b"sad: out: File too large\n")
    assert Path("out").read_bytes() == b"old"
    assert names() == before


@unix
def test_read_only_targets_are_refused_before_any_work(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.png").write_bytes(b"old")
    protected: set[str] = set()
    monkeypatch.setattr(  # permission bits do not bind the superuser
        os, "access", lambda path, _: os.path.basename(path) not in protected
    )
    monkeypatch.setattr(sadcodec.codec, "decode_with_report", pytest.fail)
    for name in ("out.png", folder.name):
        protected = {name}
        assert sad("decode", "in.sad", "-o", "out.png", "--force") == 1
        assert capfd.readouterr().err == "sad: out.png: Permission denied\n"
    protected = {"out.png"}
    with pytest.raises(OutputError, match="Permission denied"):
        files.write_output("out.png", b"new", force=True)
    assert Path("out.png").read_bytes() == b"old"
    assert names() == ["in.png", "in.sad", "out.png"]


@unix
def test_permissions_of_a_replaced_file_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.fstat(fd).st_mode), fsync(fd)))
    for mode in (0o600, 0o664):
        Path("out.png").write_bytes(b"old")
        os.chmod("out.png", mode)
        files.write_output("out.png", b"new", force=True)
        assert stat.S_IMODE(os.stat("out.png").st_mode) == mode
        assert stat.S_IMODE(seen.pop()) == mode


OTHER = Path("/dev/shm")  # noqa: S108 (a memory file system, on Linux)


@pytest.mark.skipif(not os.access(OTHER, os.W_OK), reason="no other file system is known here")
def test_a_link_to_another_file_system(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """The temporary file is beside the file, not beside the link."""
    other = OTHER / tmp_path_factory.mktemp("other").name / folder.name
    other.mkdir(parents=True)
    try:
        (other / "out.png").write_bytes(b"old")
        os.symlink(other / "out.png", "out.png")
        assert sad("decode", "in.sad", "-o", "out.png", "--force", "--quiet") == 0
        assert os.path.islink("out.png")
        assert (other / "out.png").read_bytes() == picture()
        assert os.listdir(other) == ["out.png"]
    finally:
        shutil.rmtree(other.parent)


@unix
def test_a_pipe_is_written_in_place(folder: Path) -> None:
    os.mkfifo("pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_bytes()))
    reader.start()
    assert sad("decode", "in.sad", "-o", "pipe", "--quiet") == 0
    reader.join(_WAIT)
    assert received == [picture()]
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


@unix
def test_standard_output_by_name_is_not_replaced(folder: Path) -> None:
    """Of a file that the shell opened, what stands before and comes later stays."""
    for name in ("/dev/stdout", "-"):
        command = f"echo a; '{sys.executable}' -m sadcodec decode in.sad -o {name} --quiet; echo z"
        with open("out", "wb") as out:
            subprocess.run(["sh", "-c", command], stdout=out, check=True, env=environment())
        assert Path("out").read_bytes() == b"a\n" + picture() + b"z\n"


@unix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_half_way(folder: Path, unbuffered: str) -> None:
    """The pipe takes a part of the picture, whatever Python keeps in buffers."""
    Path("large.sad").write_bytes(bitstream.write(*sample(500, width=300, height=250)))
    command = [sys.executable, "-m", "sadcodec", "decode", "large.sad", "-o", "-", "--quiet"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() | {"PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert os.read(process.stdout.fileno(), 10).startswith(b"\x89PNG")
        process.stdout.close()
        assert (process.wait(_WAIT), process.stderr.read()) == (1, b"")


@unix
def test_standard_output_that_takes_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as raw:
        stdout = io.TextIOWrapper(raw, write_through=True)
        monkeypatch.setattr(sys, "stdout", stdout)
        files.write_stdout(b"whole")
        assert reader.read1(99) == b"whole"
        monkeypatch.setattr(os, "dup2", lambda *_: None)  # what is in a buffer is not lost here
        with pytest.raises(OutputError, match="temporarily unavailable"):
            files.write_stdout(bytes(1 << 20))
        monkeypatch.undo()
        stdout.detach()


def test_no_input_is_ever_the_output(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {name: Path(name).read_bytes() for name in names()}
    os.link("in.sad", "hard.png")
    for arguments in (
        ("encode", "in.png", "-o", "in.png"),
        ("decode", "in.sad", "-o", "hard.png"),
        ("export", "in.sad", "-o", "in.sad"),
        ("import", "in.sad", "-o", "in.png", "--image", "in.png"),
        ("eval", "in.png", "--out", "in.png"),
        ("eval", "in.png", "--plot", "in.png"),
    ):
        assert sad(*arguments, "--force") == 1
        line = f"sad: {arguments[3]}: is the input file; choose another name\n"
        assert capfd.readouterr().err == line
    assert sad("eval", "in.png", "--out", "rows.csv", "--resume", "--plot", "in.png") == 1
    assert capfd.readouterr().err.startswith("sad: in.png: is the input file")
    os.unlink("hard.png")
    assert {name: Path(name).read_bytes() for name in names()} == before


# ---- Inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_an_input_that_changes_while_it_is_read(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    status = os.fstat
    read = []

    def fstat(handle: int) -> os.stat_result:
        """Before and after the reading: change it in between."""
        found = status(handle)
        if not read and status(handle).st_ino == os.stat("in.sad").st_ino:
            read.append(found)
            data = Path("in.sad").read_bytes()
            replaced = {"grow": data + b"x", "shrink": data[:-9], "rewrite": data}[change]
            Path("in.sad").write_bytes(replaced)
            os.utime("in.sad", ns=(0, found.st_mtime_ns + 1))
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    Path("out.png").write_bytes(b"old")
    assert sad("decode", "in.sad", "-o", "out.png", "--force") == 1
    assert capfd.readouterr().err == "sad: in.sad: changed while it was read\n"
    assert Path("out.png").read_bytes() == b"old"
    assert names() == ["in.png", "in.sad", "out.png"]


@unix
def test_pipes_devices_and_folders_as_input(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo("pipe")
    data = Path("in.sad").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(data))
    writer.start()
    assert sad("decode", "pipe", "-o", "out.png", "--quiet") == 0
    writer.join(_WAIT)
    assert Path("out.png").read_bytes() == picture()
    capfd.readouterr()

    monkeypatch.setattr(files, "MAX_STREAM", 3 << 20)
    for command in ("decode", "info", "encode", "export", "import"):
        suffix = {"decode": "png", "export": "txt"}.get(command, "sad")
        output = () if command == "info" else ("-o", f"none.{suffix}")
        for source, cause in (
            ("/dev/zero", "gives more than 3145728 bytes"),
            (".", "Is a directory"),
        ):
            assert sad(command, source, *output) == 1
            assert capfd.readouterr().err.startswith(f"sad: {source}: {cause}")
    with open("/dev/zero", "rb") as endless:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": endless}))
        with pytest.raises(LimitError):
            files.read_input("-")
    with pytest.raises(InputError, match="No such file"):
        files.read_input("none")
    assert not os.path.exists("none.png")
