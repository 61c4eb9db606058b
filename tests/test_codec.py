"""Encode and decode: sizes and types, targets, determinism, warnings and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import load
from diagrams import smooth_target

import sadcodec
from sadcodec import bitstream
from sadcodec.alpha import premultiplied
from sadcodec.codec import encode_with_report
from sadcodec.errors import BitstreamError, InputError, LimitError, OptionError, TargetError
from sadcodec.pixels import MAX_ENCODE_PIXELS


def crop(name: str, x: int, y: int, side: int) -> np.ndarray:
    return load(name)[y : y + side, x : x + side].copy()


def code_psnr(one: np.ndarray, other: np.ndarray) -> float:
    white = float(np.iinfo(one.dtype).max)
    error = np.mean((premultiplied(one, white) - premultiplied(other.astype(float), white)) ** 2)
    return float(10 * np.log10(white**2 / error)) if error else math.inf


@pytest.fixture(scope="module")
def cup() -> np.ndarray:
    """uint8 [64, 80, 3]."""
    return load("coffee.png")[96:160, 96:176].copy()


@pytest.fixture(scope="module")
def stored(cup) -> bytes:
    return sadcodec.encode(cup, sites=60, effort=1)


# There and back


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_number_of_channels_and_depth(channels, dtype):
    white = np.iinfo(dtype).max
    image = np.rint(smooth_target(2, 45, 38, channels) * white).astype(dtype)
    data, report = encode_with_report(image, bpp=3, effort=2)
    decoded = sadcodec.decode(data)
    assert (decoded.shape, decoded.dtype) == (image.shape, dtype)
    assert code_psnr(image, decoded) == pytest.approx(report.psnr, abs=1e-9)
    assert report.psnr > 27
    header = sadcodec.info(data).header
    assert (header.channels, header.bit_depth) == (channels, 8 * image.itemsize)


def test_gray_without_a_channel_axis():
    image = load("camera.png")[:40, :50, 0]
    data = sadcodec.encode(image, sites=40, effort=1)
    assert data == sadcodec.encode(image[:, :, None], sites=40, effort=1)
    assert sadcodec.decode(data).shape == (40, 50, 1)


def test_any_memory_order(cup):
    turned = np.asfortranarray(cup)
    options = {"sites": 30, "effort": 1}
    assert sadcodec.encode(turned, **options) == sadcodec.encode(cup, **options)
    flipped = sadcodec.decode(sadcodec.encode(cup[:, ::-1], **options))
    assert code_psnr(cup[:, ::-1], flipped) > 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 30), (30, 1), (2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize(
    "target",
    [{}, {"bpp": 1.0}, {"size": 150}, {"psnr": 30.0}, {"sites": 4}, {"quality": 100}],
    ids=str,
)
def test_tiny_images(shape, target):
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    data, report = encode_with_report(image, effort=1, **target)
    assert sadcodec.decode(data).shape == image.shape
    assert report.bytes == len(data)
    assert 1 <= report.sites <= image[:, :, 0].size
    if "psnr" in target:
        assert report.psnr >= 30 or report.warning
    if "quality" in target:
        assert report.psnr > 25


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("target", [{}, {"bpp": 1.0}, {"psnr": 50.0}, {"sites": 20}], ids=str)
def test_constant_images(value, target):
    image = np.full((30, 40, 3), value, np.uint8)
    decoded = sadcodec.decode(sadcodec.encode(image, effort=1, **target))
    assert np.abs(decoded.astype(int) - value).max() <= 1


def test_the_report_tells_what_the_file_is(cup):
    data, report = encode_with_report(cup, bpp=2, effort=2)
    assert (report.bytes, report.bpp) == (len(data), 8 * len(data) / (64 * 80))
    assert report.sites == sadcodec.info(data).header.site_count
    assert report.psnr == pytest.approx(code_psnr(cup, sadcodec.decode(data)), abs=1e-9)
    assert report.fit_psnr > report.psnr - 1
    assert 0 < report.fit_seconds < report.seconds
    assert (report.target, report.value, report.backend) == ("bpp", 2, "cpu")
    assert report.iterations == 100
    assert report.warning is None


# The same bytes


@pytest.mark.parametrize("target", [{"bpp": 1.5}, {"psnr": 30.0}, {"quality": 70}], ids=str)
def test_bytes_depend_on_the_seed_and_not_on_the_threads(cup, target):
    first = sadcodec.encode(cup, effort=1, threads=1, **target)
    assert first == sadcodec.encode(cup, effort=1, threads=1, **target)
    assert first == sadcodec.encode(cup, effort=1, threads=2, **target)
    assert first == sadcodec.encode(cup, effort=1, threads=5, seed=0, **target)
    assert first != sadcodec.encode(cup, effort=1, seed=1, **target)
    pixels = sadcodec.decode(first, threads=1)
    assert np.array_equal(pixels, sadcodec.decode(first, threads=2))


# Targets


@pytest.mark.parametrize("effort", [1, 2])
@pytest.mark.parametrize("bpp", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    "image",
    [
        ("coffee.png", 90, 60, 96),
        ("chelsea.png", 100, 60, 112),
        ("camera.png", 90, 30, 100),
        ("drawing.png", 80, 60, 128),
    ],
    ids=lambda image: image[0],
)
def test_a_rate_is_met_from_below(image, bpp, effort):
    pixels = crop(*image)
    data, report = encode_with_report(pixels, bpp=bpp, effort=effort)
    wanted = int(bpp * pixels[:, :, 0].size / 8)
    assert int(0.995 * wanted) <= len(data) <= wanted
    assert report.warning is None


@pytest.mark.parametrize("size", [250, 900, 4000])
def test_a_size_is_met_from_below(size):
    data = sadcodec.encode(crop("astronaut.png", 80, 20, 96), size=size, effort=1)
    assert int(0.995 * size) <= len(data) <= size


def test_sites_are_as_many_as_asked():
    image = crop("coffee.png", 90, 60, 96)
    for sites in (1, 2, 37, 400):
        data = sadcodec.encode(image, sites=sites, effort=1)
        header = sadcodec.info(data).header
        assert header.site_count == sites
        assert header.quantizer.step_radius > 0


def test_the_default_target_is_a_quality(cup):
    data, report = encode_with_report(cup, effort=1)
    assert (report.target, report.value) == ("quality", 75)
    assert data == sadcodec.encode(cup, quality=75, effort=1)


def test_more_effort_is_better():
    image = crop("coffee.png", 90, 60, 128)
    reached = [encode_with_report(image, bpp=0.7, effort=e)[1].psnr for e in (1, 3, 5)]
    assert reached[1] > reached[0]
    assert reached[2] > reached[1]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"size": 10}, "cannot be encoded in 10 bytes"),
        ({"bpp": 0.001}, "cannot be encoded"),
        ({"size": 10**6}, "bring nothing"),
        ({"psnr": 95.0}, "out of reach"),
    ],
    ids=str,
)
def test_a_target_out_of_reach_is_a_warning(target, words):
    image = load("coffee.png")[100:120, 100:124]
    data, report = encode_with_report(image, effort=1, **target)
    assert report.warning is not None
    assert words in report.warning
    assert "\n" not in report.warning
    assert sadcodec.decode(data).shape == image.shape
    if "size" in target:
        assert str(len(data)) in report.warning
    with pytest.raises(TargetError, match=words):
        encode_with_report(image, effort=1, strict=True, **target)


def test_more_sites_than_pixels_are_one_a_pixel(cup):
    small = cup[:10, :12]
    assert sadcodec.info(sadcodec.encode(small, sites=10**6, effort=1)).header.site_count == 120


# Coders and backends


def test_both_coders_hold_the_same_picture(stored):
    header, symbols = bitstream.read(stored)
    other = bitstream.write(header, symbols, coder="zstd")
    assert np.array_equal(sadcodec.decode(other), sadcodec.decode(stored))
    assert len(stored) < len(other)


def test_the_zstd_coder_meets_a_size(cup):
    data = sadcodec.encode(cup, size=900, effort=1, coder="zstd")
    assert 895 <= len(data) <= 900
    assert sadcodec.info(data).header.coder == "zstd"


def test_every_image_of_data_decodes_as_the_reference(data_images):
    for path in data_images:
        data = sadcodec.encode(load(path.name), sites=250, effort=1)
        fast, exact = (sadcodec.decode(data, backend=b).astype(int) for b in ("cpu", "reference"))
        assert np.abs(fast - exact).max() <= 1, path.name


def test_16_bits_decode_as_the_reference():
    image = np.rint(smooth_target(4, 60, 50, 3) * 65535).astype(np.uint16)
    data = sadcodec.encode(image, sites=150, effort=1)
    fast, exact = (sadcodec.decode(data, backend=b).astype(int) for b in ("cpu", "reference"))
    assert np.abs(fast - exact).max() <= 1


def test_the_reference_encodes_too():
    image = load("drawing.png")[60:76, 180:196]
    data, report = encode_with_report(image, sites=8, effort=1, backend="reference")
    assert report.backend == "reference"
    other = encode_with_report(image, sites=8, effort=1)[1]
    assert report.psnr == pytest.approx(other.psnr, abs=1.5)
    assert sadcodec.decode(data).shape == image.shape


# Progress


@pytest.mark.parametrize("target", [{"bpp": 2}, {"psnr": 42}, {"quality": 60}], ids=str)
def test_progress_rises_to_1(cup, target):
    seen: list[float] = []
    messages = set()

    def progress(share: float, message: str) -> None:
        seen.append(share)
        messages.add(message)

    sadcodec.encode(cup, effort=1, progress=progress, **target)
    assert (np.diff(seen) >= 0).all()
    assert 0 <= seen[0] < 0.2
    assert seen[-1] == 1.0
    assert {"fitting", "refining", "done"} <= messages


def test_an_error_in_the_callback_comes_through(cup):
    def stop(share: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sadcodec.encode(cup, effort=1, progress=stop)


# Errors


@pytest.mark.parametrize(
    "options",
    [
        {"bpp": 1, "size": 100},
        {"bpp": 0},
        {"bpp": -1},
        {"bpp": math.nan},
        {"bpp": math.inf},
        {"bpp": 1e300},
        {"size": 10**400},
        {"size": 0},
        {"psnr": 0},
        {"psnr": 101},
        {"sites": 0},
        {"quality": -1},
        {"quality": 100.5},
        {"effort": 0},
        {"effort": 10},
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 1.5},
        {"groups": 1.5},
        {"groups": math.nan},
        {"progressive": 2.5},
        {"threads": 0},
        {"threads": 5000},
        {"backend": "abacus"},
        {"coder": "morse"},
    ],
    ids=str,
)
def test_options_out_of_range(cup, options):
    with pytest.raises(OptionError) as caught:
        sadcodec.encode(cup, **options)
    assert isinstance(caught.value, sadcodec.SadError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_any_psnr_above_zero_may_be_asked_for(cup):
    assert len(sadcodec.encode(cup, psnr=0.5, effort=1)) < 100


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((4, 4, 3), bool),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 0), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        "photo.png",
        None,
    ],
    ids=lambda image: str(getattr(image, "shape", image)),
)
def test_images_of_another_kind(image):
    with pytest.raises(InputError):
        sadcodec.encode(image)


def test_an_image_too_large():
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (MAX_ENCODE_PIXELS, 2, 3))
    with pytest.raises(LimitError):
        sadcodec.encode(huge)


def test_decoding_options(stored):
    with pytest.raises(LimitError):
        sadcodec.decode(stored, max_pixels=64 * 80 - 1)
    assert sadcodec.decode(stored, max_pixels=64 * 80).shape == (64, 80, 3)
    with pytest.raises(OptionError):
        sadcodec.decode(stored, backend="abacus")
    with pytest.raises(OptionError):
        sadcodec.decode(stored, threads=0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes(stored, kind):
    assert np.array_equal(sadcodec.decode(kind(stored)), sadcodec.decode(stored))
    assert sadcodec.info(kind(stored)).file_bytes == len(stored)


@pytest.mark.parametrize("data", ["photo.sad", None, 7, [1, 2]])
def test_what_is_not_bytes(data):
    for read in (sadcodec.decode, sadcodec.info):
        with pytest.raises(InputError):
            read(data)


def test_damaged_files(stored):
    for length in range(0, len(stored), 7):
        with pytest.raises(BitstreamError):
            sadcodec.decode(stored[:length])
    with pytest.raises(BitstreamError):
        sadcodec.decode(stored + b"\0")
    for at in range(0, len(stored), 5):
        broken = bytearray(stored)
        broken[at] ^= 1 << (at % 8)
        with pytest.raises((BitstreamError, LimitError)):
            sadcodec.decode(bytes(broken))
    with pytest.raises(BitstreamError):
        sadcodec.info(b"not a file at all")


def test_where_other_codecs_do_better_it_says_so():
    image = load("chelsea.png")
    _, report = encode_with_report(image, sites=7500, effort=1, strict=True)  # no missed target
    assert report.bpp > 1.5
    assert f"at {report.bpp:.1f} bpp, AVIF and JPEG 2000 keep more" in report.warning
    assert encode_with_report(image, bpp=0.4, effort=1)[1].warning is None
    assert encode_with_report(image[:48, :48], bpp=2.5, effort=1)[1].warning is None
