"""Other codecs at the targets of `sad eval`: real files, nothing better within the target."""

from __future__ import annotations

import io
import math
import pickle
import sys

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, features

from sadcodec.errors import BackendError, InputError, OptionError
from sadcodec.evaluate.codecs import PEERS, Peer, peer
from sadcodec.evaluate.codecs.formats import FORMATS
from sadcodec.evaluate.codecs.peer import _last
from sadcodec.metrics import psnr

ALWAYS = ("jpeg", "webp")  # in every Pillow: these tests are not skipped


@pytest.fixture
def photo(photo):
    """uint8 [48, 64, 3]: these tests write many files."""
    return photo[:48, 16:80].copy()


def opened(name: str) -> Peer:
    """Return a codec that has not tried anything yet."""
    try:
        peer(name)
    except BackendError as error:
        if name in ALWAYS:
            raise
        pytest.skip(str(error))
    return Peer(FORMATS[name])


def settings(codec: str, channels: int = 3) -> list:
    made = FORMATS[codec]
    return [made.setting(n, v) for v in made.variants(channels) for n in range(made.steps)]


def with_alpha(image):
    ramp = np.linspace(0, 255, image.shape[1]).astype(np.uint8)
    return np.dstack([image, np.broadcast_to(ramp[:, None], (*image.shape[:2], 1))])


@pytest.mark.parametrize("name", PEERS)
def test_a_size_is_used_but_not_exceeded(name, photo):
    codec = opened(name)
    size = 1100
    found = codec.code(photo, "size", size)
    assert 0.9 * size < len(found.data) <= size
    assert not found.warning
    assert found.decoded.shape == photo.shape
    assert found.decoded.dtype == np.uint8
    assert found.encode_s > 0
    assert found.decode_s > 0
    made = FORMATS[name]
    used = [n for n, s in enumerate(settings(name)) if s.text == found.detail]
    assert len(used) == 1
    following = settings(name)[used[0] + 1]
    data, _ = made.encode(photo, following)
    assert len(data) > size, "a higher setting fits as well"


def test_the_best_of_all_jpeg_files_is_found(photo):
    made, size = FORMATS["jpeg"], 1100
    files = [made.encode(photo, setting)[0] for setting in settings("jpeg")]
    points = [(len(data), psnr(photo, made.decode(data, photo)[0])) for data in files]
    found = opened("jpeg").code(photo, "size", size)
    assert psnr(photo, found.decoded) == max(quality for least, quality in points if least <= size)
    assert {s.text.split(", ")[1] for s in settings("jpeg")} == {"4:2:0", "4:4:4"}
    least = min(least for least, quality in points if quality >= 27)
    assert len(opened("jpeg").code(photo, "psnr", 27).data) == least


@pytest.mark.parametrize("name", PEERS)
def test_a_rate_is_a_size(name, photo):
    codec = opened(name)
    pixels = photo.shape[0] * photo.shape[1]
    by_rate, by_size = codec.code(photo, "bpp", 2.5), codec.code(photo, "size", 2.5 * pixels / 8)
    assert by_rate.data == by_size.data


@pytest.mark.parametrize("name", PEERS)
def test_a_psnr_is_reached_by_the_lowest_setting(name, photo):
    found = opened(name).code(photo, "psnr", 31)
    reached = psnr(photo, found.decoded)
    assert 31 <= reached < 31.5
    assert not found.warning
    made = FORMATS[name]
    used = next(n for n, s in enumerate(settings(name)) if s.text == found.detail)
    data, _ = made.encode(photo, settings(name)[used - 1])
    assert psnr(photo, made.decode(data, photo)[0]) < 31


@pytest.mark.parametrize("name", PEERS)
def test_a_quality_is_the_codec_s_own(name, photo):
    codec = opened(name)
    options = {
        "jpeg": {"quality": 40, "optimize": True, "progressive": True, "subsampling": 2},
        "webp": {"quality": 40, "method": 4},
        "avif": {"quality": 40, "speed": 6, "subsampling": "4:2:0", "max_threads": 1},
        "jxl": {"quality": 40, "effort": 7},
        "jp2": {"quality_mode": "dB", "quality_layers": [40], "irreversible": True, "mct": 1},
    }[name]
    expected = io.BytesIO()
    kind = {"jxl": "JXL", "jp2": "JPEG2000"}.get(name, name)
    Image.fromarray(photo).save(expected, kind, **options)
    found = codec.code(photo, "quality", 40)
    assert found.data == expected.getvalue()
    with Image.open(expected) as picture:
        np.testing.assert_array_equal(found.decoded, np.asarray(picture.convert("RGB")))
    for end in (0, 100):
        assert codec.code(photo, "quality", end).data
    assert "40" in found.detail


@pytest.mark.parametrize("name", PEERS)
def test_a_target_out_of_reach_gives_the_nearest_file_and_says_so(name, photo):
    codec = opened(name)
    least = codec.code(photo, "size", 20)
    assert least.warning == (
        f"cannot be encoded in 20 bytes; the smallest file takes {len(least.data)}"
    )
    assert least.detail.endswith("; " + least.warning)
    most = codec.code(photo, "size", 10**6)
    assert most.warning == (f"1000000 bytes are more than its largest file takes: {len(most.data)}")
    best = codec.code(photo, "psnr", 90)
    reached = psnr(photo, best.decoded)
    assert best.warning == f"90 dB is out of reach; {reached:.2f} dB is the nearest"
    assert reached >= psnr(photo, most.decoded) > 35
    easy = codec.code(photo, "psnr", 1)
    assert (len(easy.data), easy.warning) == (len(least.data), "")


@pytest.mark.parametrize("name", ["jpeg", "webp", "jp2"])  # the slow ones go the same way
def test_what_was_tried_before_changes_nothing(name, photo, drawing):
    used = opened(name)
    for kind, value in (("size", 800), ("psnr", 30)):
        used.code(photo, kind, value)
    used.code(drawing[:24, :32], "size", 1000)
    changed = photo.copy()
    assert used.code(changed, "size", 1000).data == opened(name).code(photo, "size", 1000).data
    changed[:, :20] = 0  # the same array with another content
    assert used.code(changed, "size", 1000).data == opened(name).code(changed, "size", 1000).data


@pytest.mark.parametrize("name", PEERS)
def test_kinds_of_images(name, photo, gray):
    codec = opened(name)
    images = {
        "gray": gray,
        "two axes": gray[:, :, 0],
        "gray and alpha": with_alpha(gray),
        "RGBA": with_alpha(photo),
        "16-bit gray": gray.astype(np.uint16) * 257,
        "16-bit RGB": photo.astype(np.uint16) * 257,
    }
    refused = {
        "jpeg": {"gray and alpha", "RGBA", "16-bit gray", "16-bit RGB"},
        "webp": {"16-bit gray", "16-bit RGB"},
        "avif": {"16-bit gray", "16-bit RGB"},
    }.get(name, {"16-bit RGB"})
    for kind, image in images.items():
        if kind in refused:
            with pytest.raises(InputError, match=rf"cannot be written from .*{kind}"):
                codec.code(image, "bpp", 2)
            continue
        found = codec.code(image, "quality", 90 if name != "jp2" else 40)
        assert (found.decoded.shape, found.decoded.dtype) == (image.shape, image.dtype), kind
        assert psnr(image, found.decoded) > 35, kind


@pytest.mark.parametrize("name", PEERS)
def test_a_single_pixel(name, photo):
    found = opened(name).code(photo[:1, :1], "bpp", 8 * 900)
    assert found.decoded.shape == (1, 1, 3)
    assert len(found.data) <= 900


def test_what_is_refused(photo):
    codec = opened("jpeg")
    with pytest.raises(OptionError, match="cannot be given sites, only bpp, size, psnr, quality"):
        codec.code(photo, "sites", 100)
    for kind, value in (("bpp", -1), ("quality", 101), ("psnr", math.nan), ("size", math.inf)):
        with pytest.raises(OptionError, match="out of range"):
            codec.code(photo, kind, value)
    with pytest.raises(InputError, match="uint8 or uint16, not float64"):
        codec.code(photo / 255, "bpp", 1)
    for wrong in (np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="an image must be"):
            codec.code(wrong, "bpp", 1)
    with pytest.raises(OptionError, match="one of jpeg, webp, avif, jxl, jp2, not 'gif'"):
        peer("gif")
    with pytest.raises(InputError, match=r"^WebP: .*"):  # its own limit is 16383 px
        opened("webp").code(np.zeros((1, 16400, 3), np.uint8), "quality", 5)


def test_a_codec_that_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(BackendError, match=r"JPEG XL needs .*: pip install 'sadcodec\[peers\]'"):
        FORMATS["jxl"].check()
    monkeypatch.setattr(features, "check", lambda _: None)
    with pytest.raises(BackendError, match=r"Pillow is built without AVIF: pip install"):
        FORMATS["avif"].check()


@pytest.mark.parametrize("name", PEERS)
def test_name_version_and_extension(name):
    codec = opened(name)
    assert codec.name == name
    assert codec.extension.startswith(".")
    assert any(character.isdigit() for character in codec.version)
    assert "unknown" not in codec.version
    assert pickle.loads(pickle.dumps(codec)).name == name  # noqa: S301
    assert peer(name) is peer(name)


def test_progress_rises_to_one(photo):
    seen = []
    opened("jpeg").code(photo, "size", 1000, lambda fraction, text: seen.append((fraction, text)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert seen[0][1].startswith("JPEG quality ")


def test_threads_of_the_decoders_are_put_back(photo, monkeypatch):
    codec = opened("avif")
    monkeypatch.setattr(AvifImagePlugin, "DEFAULT_MAX_THREADS", 3)
    codec.code(photo, "quality", 30)
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 3


@pytest.mark.parametrize("near", [None, 0, 5, 6, 7, 19])
@pytest.mark.parametrize("answer", [-1, 0, 6, 18, 19])
def test_the_search_finds_the_last_setting(near, answer):
    tried = []

    def holds(step):
        assert 0 <= step < 20
        tried.append(step)
        return step <= answer

    assert _last(20, holds, near) == answer
    assert len(set(tried)) == len(tried) <= 10
