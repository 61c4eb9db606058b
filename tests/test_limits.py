"""Limits on what a file can cost, and that no file of the encoder meets them."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace

import bad_files
import numpy as np
import pytest
from conftest import load
from golden_files import FOLDER as GOLDEN
from symbol_samples import sample

import sadcodec
from sadcodec import _coder, bitstream
from sadcodec.backends.base import MAX_WORK
from sadcodec.backends.cpu import CpuBackend
from sadcodec.bitstream.payload import MAX_SITES_PER_BYTE
from sadcodec.bitstream.zstd_profile import unpack_metadata
from sadcodec.cli import main
from sadcodec.decoding import MAX_PIXELS, default_work
from sadcodec.errors import BitstreamError, LimitError, OptionError
from sadcodec.sites import Sites


def in_one_place(count: int, size: int, log_tau: float = 0.0) -> Sites:
    """Sites that differ in colour alone, in the middle of a square."""
    params = np.zeros((count, 9), np.float32)
    params[:, :2] = size / 2
    params[:, 2] = log_tau
    params[:, 6:] = np.linspace(0, 1, 3 * count).reshape(count, 3)
    return Sites(params)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sad")), ids=lambda path: path.stem)
def test_golden_files_are_far_from_the_limits(path):
    data = path.read_bytes()
    found = sadcodec.info(data)
    names = ("SITE", "SITZ", "GRPE", "GRPZ", "GRPM")
    held = sum(chunk.length for chunk in found.chunks if chunk.type in names)
    assert found.header.site_count < held / 2
    assert sadcodec.decode(data, threads=1, max_work=MAX_WORK // 2).size


@pytest.mark.parametrize("sites", [1, 64, 100_000])
@pytest.mark.parametrize("content", ["photograph", "noise", "flat"])
def test_extreme_encodes_are_far_from_the_limits(content, sites, rng):
    image = {
        "photograph": load("coffee.png")[100:148, 150:198],
        "noise": rng.integers(0, 256, (48, 48, 3), np.uint8),
        "flat": np.full((48, 48, 3), 77, np.uint8),
    }[content]
    data = sadcodec.encode(image, sites=sites, effort=1, threads=1, backend="cpu")
    assert sadcodec.info(data).header.site_count < 8 * len(data)
    decoded = sadcodec.decode(data, threads=1, max_work=MAX_WORK // 2)
    assert np.array_equal(decoded, sadcodec.decode(data, threads=1, max_work=0))


def test_no_more_sites_than_their_bytes_allow():
    count = 12_000
    header, symbols = sample(count, width=64, height=64, channels=1)
    zero = np.zeros(count, np.int32)
    columns = {"x": zero, "y": zero, "log_tau": zero, "log_anisotropy": zero, "angle": zero}
    same = replace(symbols, **columns, color=zero[:, None])
    with pytest.raises(OptionError, match="more sites"):
        bitstream.write(header, same)
    groups, *_ = _coder.encode(
        64, 64, header.quantizer.as_tuple(), zero, zero, zero, zero, zero, None, zero[:, None]
    )
    assert MAX_SITES_PER_BYTE * len(groups[0][0]) < count < 3787 * len(groups[0][0])


@pytest.mark.parametrize("log_tau", [-10.0, 0.0, 10.0])
@pytest.mark.parametrize("exact", [False, True])
def test_sites_in_one_place_are_not_drawn(log_tau, exact):
    sites = in_one_place(1500, 128, log_tau)
    for threads in (1, 3):
        backend = CpuBackend(threads)
        start = time.process_time()
        with pytest.raises(LimitError, match=r"1500 sites matter at one pixel: more than 16 on"):
            backend.render(sites, 128, 128, exact=exact, max_work=16)
        assert time.process_time() - start < 0.5


def test_the_limit_of_work_is_where_it_is_said_to_be():
    size, count = 16, 600
    sites = in_one_place(count, size)
    # The unit, the square and each of four tiles look at every site; so do the pixels of the tiles.
    needed = count * (1 + 1 + 4 + size * size)
    allowed = size * size + 16 * count + (1 << 15)
    most = -(-needed // allowed)
    drawn = CpuBackend(1).render(sites, size, size, max_work=most)
    assert np.array_equal(drawn, CpuBackend(2).render(sites, size, size))
    with pytest.raises(LimitError):
        CpuBackend(1).render(sites, size, size, max_work=most - 1)


def test_each_part_of_a_picture_has_its_own_limit():
    # Wider than the square of pixels that the limit is for; sharp and soft sites beside each other.
    sites = in_one_place(300, 8)
    params = sites.params.copy()
    params[:150, 0] = 1500.0
    backend = CpuBackend(2)
    with pytest.raises(LimitError):
        backend.render(Sites(params), 1600, 48, max_work=32)
    assert backend.render(Sites(params), 1600, 48, max_work=500).shape == (48, 1600, 3)


def test_a_list_that_would_take_too_much_memory_is_refused():
    sites = in_one_place(600, 8)  # 64 pixels: little work, but a list of over 512
    with pytest.raises(LimitError):
        CpuBackend(1).render(sites, 8, 8, max_work=1)
    sites = in_one_place(400, 8)
    assert CpuBackend(1).render(sites, 8, 8, max_work=1).shape == (8, 8, 3)


def test_decode_takes_other_limits():
    data = (bad_files.FOLDER / "all-sites-matter-everywhere.sad").read_bytes()
    with pytest.raises(LimitError, match="more than 128 on average"):
        sadcodec.decode(data)
    with pytest.raises(LimitError, match="more than 300 on average"):
        sadcodec.decode(data, max_work=300)
    for wrong in (-1, 16385):
        with pytest.raises(OptionError, match="max_work"):
            sadcodec.decode(data, max_work=wrong)
    with pytest.raises(LimitError, match="160 x 120"):
        sadcodec.info(data, max_pixels=160 * 120 - 1)
    assert sadcodec.info(data, max_pixels=160 * 120).header.site_count == 2400


def test_a_pixel_too_many_is_refused_by_every_command(tmp_path, monkeypatch, capsys):
    def sad(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out + told.err

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ppm").write_bytes(b"P6 6 4 255\n" + bytes(range(72)))
    encode = ["encode", "a.ppm", "--effort=1", "--sites=4", "--threads=1", "--backend=cpu"]
    several = ["encode", "a.ppm", "--out-dir=out", "--backend=cpu"]
    evaluation = ["eval", "a.ppm", "--quiet", "--bpp=9", "--backend=cpu"]
    for command, status in ((encode, 1), (several, 3), (evaluation, 3)):
        found, told = sad(*command, "--max-pixels=23")
        assert (found, "6 x 4 pixels" in told) == (status, True)
    assert sad(*encode, "--max-pixels=24")[0] == 0
    for name in ("decode", "info", "export"):
        status, told = sad(name, "a.sad", "--max-pixels=23")
        assert (status, "6 x 4 pixels" in told) == (1, True)
        assert sad(name, "a.sad", "--max-pixels=24")[0] == 0
    for name in ("decode", "info", "export", "encode", "eval"):
        assert str(MAX_PIXELS) in sad(name, "--help")[1]
    assert f"Default: {MAX_WORK}." in " ".join(sad("decode", "--help")[1].split())


def test_metadata_frames_are_one_whole_frame():
    skippable = struct.pack("<II", 0x184D2A50, 0)
    for data in (b"", skippable, bad_files.wide_window()[:9], bad_files.wide_window()):
        with pytest.raises(BitstreamError):
            unpack_metadata(data, 1000)
    narrow = bytearray(bad_files.wide_window())
    narrow[5] = 17 << 3
    assert unpack_metadata(bytes(narrow), 200) == bytes(200)
    with pytest.raises(BitstreamError, match="over 199"):
        unpack_metadata(bytes(narrow), 199)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory as Linux counts it")
@pytest.mark.parametrize("log_tau", [0, 60])
def test_memory_of_reading_is_that_of_the_formula(tmp_path, log_tau):
    count = 1 << 16
    header, symbols = sample(count, width=512, height=512, channels=3, coincident=log_tau > 0)
    data = bitstream.write(header, replace(symbols, log_tau=np.full(count, log_tau, np.int32)))
    (tmp_path / "a.sad").write_bytes(data)
    script = """if True:
        import resource, sys
        from sadcodec import bitstream, quantize
        data = open(sys.argv[1], "rb").read()
        peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = peak()
        bitstream.read(data)
        print(peak() - before)
    """
    command = [sys.executable, "-c", script, str(tmp_path / "a.sad")]
    used = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert used < 3 * len(data) + 404 * count


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_that_runs_out_is_an_error(threads):
    script = """if True:
        import resource, sys
        import numpy as np
        from sadcodec import _core
        sites = np.zeros((1 << 20, 7), np.float32)
        used = [int(line.split()[1]) for line in open("/proc/self/status") if "VmSize" in line]
        most = 1024 * used[0] + (450 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            _core.render(sites, 256, 8, 8, False, int(sys.argv[1]))
        except MemoryError:
            print("MemoryError")
    """
    command = [sys.executable, "-c", script, str(threads)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (0, "MemoryError\n")


def test_a_header_with_every_field_at_its_largest_is_refused_or_read():
    data = bytearray((GOLDEN / "one-site.sad").read_bytes())
    end = 36 + 2 * (data[10] & 7)
    for at, size in ((12, 4), (16, 4), (20, 4), *((at, 2) for at in range(24, 34, 2)), (34, 2)):
        for value in (0, 1, 256**size // 2, 256**size - 1):
            changed = bytearray(data)
            changed[at : at + size] = value.to_bytes(size, "little")
            struct.pack_into("<I", changed, end, zlib.crc32(bytes(changed[:end])))
            try:
                picture = sadcodec.decode(bytes(changed), threads=1, max_pixels=1 << 16)
            except (BitstreamError, LimitError):
                continue
            assert picture.size


@pytest.mark.parametrize(
    ("side", "size", "most"),
    [
        (16, 1, 128),
        (5792, 100, 128),
        (1 << 14, 100, 24),
        (1 << 14, 70_000, 84),
        (1 << 14, 120_000, 128),
    ],
)
def test_the_default_limit_of_work(side: int, size: int, most: int):
    header, _ = sample(3, width=side, height=side)
    assert default_work(header, size) == most


def test_a_large_picture_of_a_few_bytes_cannot_take_long():
    header, symbols = sample(110, width=1 << 14, height=1 << 14, channels=1, coincident=True)
    zero = np.zeros(110, np.int32)
    data = bitstream.write(header, replace(symbols, log_tau=zero, log_anisotropy=zero, angle=zero))
    assert len(data) < 250
    start = time.process_time()
    with pytest.raises(LimitError, match="more than 24 on average"):
        sadcodec.decode(data, threads=1)
    assert time.process_time() - start < 8


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory as Linux counts it")
@pytest.mark.parametrize("size", [(3072, 3072), (700, 700)])
def test_memory_of_drawing_is_that_of_the_formula(tmp_path, size):
    """SECURITY.md: a picture, and a band of it at a time."""
    header, symbols = sample(64, width=3072, height=3072, channels=1)
    (tmp_path / "a.sad").write_bytes(bitstream.write(header, symbols))
    script = """if True:
        import resource, sys
        import sadcodec
        data = open(sys.argv[1], "rb").read()
        peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sadcodec.decode(data, region=(0, 0, 99, 99), size=(5, 5), threads=1)
        before = peak()
        sadcodec.decode(data, size=(int(sys.argv[2]), int(sys.argv[3])), threads=1)
        print(peak() - before)
    """
    command = [sys.executable, "-c", script, str(tmp_path / "a.sad"), *map(str, size)]
    used = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    band = 1024 * 3072
    assert used < size[0] * size[1] + 10 * band + 100 * 3072 + (2 << 20)
    assert 2 * (10 * band) < 10 * 3072 * 3072  # far less than the whole in float would take
