"""ICC profile, Exif and XMP: kept byte for byte, written back, stripped, and bounded."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import golden_files
import numpy as np
import pytest
from conftest import load
from PIL import Image, ImageCms, ImageOps

import sadcodec
from sadcodec import bitstream, image_io
from sadcodec.bitstream.container import pack_chunk
from sadcodec.cli import main
from sadcodec.codec import encode_with_report
from sadcodec.errors import BitstreamError, LimitError, OptionError, TargetError
from sadcodec.image_io import png

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<?xpacket?><x:xmpmeta xmlns:x='adobe:ns:meta/'>\xc3\xa4\xff\0</x:xmpmeta>"
KINDS = ("png", "jpeg", "webp", "tiff")
CODED = {"effort": 1, "threads": 1, "backend": "cpu", "sites": 8}


def exif(orientation: int = 1, size: tuple[int, int] = (4000, 3000)) -> bytes:
    """Exif of a camera, with two directories and the tags of another picture's size."""
    tags = Image.Exif()
    tags[256], tags[257] = size
    tags[271], tags[274], tags[306] = "Maker", orientation, "2026:11:21 10:00:00"
    tags[34665] = {33434: (1, 60), 36867: "2026:11:21 10:00:00", 37500: b"note\0\1"}
    tags[34853] = {1: "N", 2: (48.0, 30.0, 1.5)}
    return tags.tobytes()[6:]


METADATA = {"icc_profile": ICC, "exif": exif(), "xmp": XMP}


def image(height: int = 12, width: int = 16, channels: int = 3) -> np.ndarray:
    return np.ascontiguousarray(load("coffee.png")[90 : 90 + height, 150 : 150 + width, :channels])


def saved(picture: np.ndarray, kind: str, metadata: dict[str, bytes]) -> bytes:
    """A file as Pillow writes it: another writer than ours for all but TIFF's XMP."""
    options = dict(metadata)
    if "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    buffer = io.BytesIO()
    if kind == "tiff":
        return image_io.encode_image(picture, kind, metadata)
    if kind == "png":  # its XMP is text
        xmp = options.pop("xmp", b"")
        Image.fromarray(picture).save(buffer, kind, **options)
        return png.with_metadata(buffer.getvalue(), {"xmp": xmp} if xmp else {})
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


Run = Callable[..., tuple[str, str]]


@pytest.fixture(name="run")
def run_fixture(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs ``sad`` and returns what it prints on both streams."""

    def run(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main((*arguments, "--backend", "cpu") if arguments[0] == "encode" else arguments)
        out, err = (each.decode() for each in capfdbinary.readouterr())
        assert not caught.value.code, err
        return out, err

    return run


# ---- Image files --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_image_files_hold_metadata_byte_for_byte(kind: str) -> None:
    _, found = image_io.read_image(saved(image(), kind, METADATA))
    if kind == "tiff":  # its Exif is tags among its own; a second file has the same
        assert found["exif"] != METADATA["exif"]
        for name, value in ((271, "Maker"), (306, "2026:11:21 10:00:00")):
            assert Image.open(io.BytesIO(saved(image(), kind, found))).getexif()[name] == value
        again = image_io.read_image(saved(image(), kind, found))[1]
        assert again == found
        found["exif"] = METADATA["exif"]
    assert found == METADATA


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METADATA)
def test_each_is_kept_without_the_others(kind: str, name: str) -> None:
    only = {name: METADATA[name]}
    data = saved(image(), kind, only)
    pixels, found = image_io.read_image(data)
    assert list(found) == [name]
    assert image_io.read_image(image_io.encode_image(pixels, "png", found))[1] == found
    assert pixels.shape == image().shape


def test_deep_and_gray_images_have_metadata_too() -> None:
    for deep in (image().astype(np.uint16) * 257, image(channels=1).astype(np.uint16)):
        pixels, found = image_io.read_image(image_io.encode_image(deep, "png", METADATA))
        assert found == METADATA
        np.testing.assert_array_equal(pixels, deep)
    rgba = np.dstack([image(), image(channels=1)]).astype(np.uint16) * 3
    assert image_io.read_image(image_io.encode_image(rgba, "png", METADATA))[1] == METADATA


def test_what_others_write_after_the_pixels_is_found() -> None:
    plain = image_io.encode_image(image().astype(np.uint16), "png")
    tagged = png.with_metadata(plain, {"exif": METADATA["exif"]})
    at = len(png.SIGNATURE) + 25
    chunk = tagged[at : len(tagged) - len(plain) + at]
    late = plain[:-12] + chunk + plain[-12:]
    assert image_io.read_image(late)[1] == {"exif": METADATA["exif"]}


def test_formats_leave_out_what_they_cannot_hold() -> None:
    long = {"exif": exif() + bytes(65533), "xmp": bytes(65533), "icc_profile": ICC * 200}
    assert image_io.holds("jpeg", 3, long) == {"icc_profile": ICC * 200}
    assert image_io.holds("png", 3, long) == long
    assert image_io.holds("tiff", 3, {"exif": b"no Exif"}) == {}
    assert image_io.holds("bmp", 3, METADATA) == image_io.holds("pam", 4, METADATA) == {}
    gray = {"icc_profile": ICC[:16] + b"GRAY" + ICC[20:]}
    assert image_io.holds("webp", 1, gray) == {}
    assert image_io.holds("png", 1, gray) == image_io.holds("webp", 3, gray) == gray
    for kind in KINDS:
        assert image_io.read_image(image_io.encode_image(image(), kind, long))[0].ndim == 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_an_image_is_turned_as_pillow_turns_it(orientation: int, order: str) -> None:
    picture = image()
    tags = Image.Exif()
    tags.endian = order
    tags[274] = orientation
    block = tags.tobytes()
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", exif=block)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    np.testing.assert_array_equal(image_io.oriented(picture, block[6:]), expected)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_tiff_opens_the_same_way_up(orientation: int) -> None:
    """Pillow turns the pixels of a TIFF, so its orientation is not among what is kept."""
    metadata = {"exif": exif(orientation)}
    pixels, found = image_io.read_image(image_io.encode_image(image(), "tiff", metadata))
    np.testing.assert_array_equal(pixels, image_io.oriented(image(), metadata["exif"]))
    np.testing.assert_array_equal(image_io.oriented(pixels, found["exif"]), pixels)


def test_damaged_exif_is_passed_on_and_turns_nothing() -> None:
    picture, good = image(), exif(6)
    random = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(good[: random.integers(0, len(good) + 1)])
        for at in random.integers(0, max(min(len(bad), 60), 1), 3):
            bad[at : at + 1] = random.integers(0, 256, 1, np.uint8).tobytes()
        assert image_io.oriented(picture, bytes(bad)).size == picture.size
        for kind in KINDS:
            kept = image_io.holds(kind, 3, {"exif": bytes(bad)})
            assert kind == "tiff" or kept
            if kind == "tiff":
                image_io.encode_image(picture, kind, kept)
    _, found = image_io.read_image(saved(picture, "png", {"exif": b"nonsense"}))
    assert found == {"exif": b"nonsense"}


def test_exif_whose_entries_share_their_bytes_costs_nothing() -> None:
    """20000 tags that each claim the whole block: 5 GB for a reader that copies them."""
    size = 1 << 18
    entries = b"".join(struct.pack("<HHII", tag, 7, size - 8, 8) for tag in range(20000))
    bomb = (struct.pack("<2sHIH", b"II", 42, 8, 20000) + entries).ljust(size, b"\0")
    start = time.process_time()
    assert image_io.holds("tiff", 3, {"exif": bomb}) == {}
    assert image_io.oriented(image(), bomb).shape == image().shape
    assert time.process_time() - start < 2


# ---- .sad files ---------------------------------------------------------------------------------


def test_metadata_travels_in_a_file_and_changes_no_pixel() -> None:
    plain, report = encode_with_report(image(), **CODED)
    assert report.metadata_bytes == 0
    assert sadcodec.metadata(plain) == {}
    data, report = encode_with_report(image(), **CODED, metadata=METADATA)
    assert sadcodec.metadata(data) == METADATA
    assert list(sadcodec.info(data).metadata.items()) == [(n, len(c)) for n, c in METADATA.items()]
    assert len(data) - len(plain) == report.metadata_bytes > 36
    np.testing.assert_array_equal(sadcodec.decode(data), sadcodec.decode(plain))
    prefixed = METADATA | {"exif": b"Exif\0\0" + METADATA["exif"], "xmp": memoryview(XMP)}
    assert sadcodec.encode(image(), **CODED, metadata=prefixed) == data
    assert sadcodec.encode(image(), **CODED, metadata={"xmp": b""}) == plain


def test_metadata_of_a_file_that_was_written_once() -> None:
    data = (golden_files.FOLDER / "metadata.sad").read_bytes()
    assert sadcodec.metadata(data) == golden_files.METADATA
    shape = image_io.oriented(sadcodec.decode(data), golden_files.METADATA["exif"]).shape
    assert shape == (41, 29, 3)


def test_what_is_no_metadata_is_refused() -> None:
    with pytest.raises(OptionError, match="icc_profile, exif, xmp, not 'icc'"):
        sadcodec.encode(image(), **CODED, metadata={"icc": ICC})
    with pytest.raises(LimitError, match="xmp of 16777217 bytes"):
        sadcodec.encode(image(), **CODED, metadata={"xmp": bytes((1 << 24) + 1)})


@pytest.mark.parametrize("target", [{"size": 3000}, {"bpp": 3000 * 8 / (120 * 90)}])
def test_metadata_counts_towards_a_size(target: dict[str, float]) -> None:
    picture, noise = image(90, 120), np.random.default_rng(0).bytes(1200)
    settings = {"effort": 1, "threads": 1, "backend": "cpu"} | target
    data, report = encode_with_report(picture, **settings, metadata={"exif": noise})
    assert report.warning is None
    assert 0.99 * 3000 <= len(data) == report.bytes <= 3000
    assert report.metadata_bytes > 1200
    more = {"exif": np.random.default_rng(1).bytes(3000)}
    with pytest.raises(TargetError, match=r"takes 30\d\d bytes, which leaves none of 3000"):
        encode_with_report(picture, **settings, metadata=more)


def test_chunks_that_cannot_be_unpacked_leave_the_rest() -> None:
    header, symbols = bitstream.read(sadcodec.encode(image(), **CODED))
    data = bitstream.write(header, symbols, [(b"eXIF", METADATA["exif"]), (b"xMLP", XMP)])
    at = data.index(b"eXIF") - 4
    bad = pack_chunk(b"iCCP", b"no frame")
    twice = data[:at] + bad + data[at:]
    assert sadcodec.info(twice).metadata == {
        "icc_profile": None,
        "exif": len(METADATA["exif"]),
        "xmp": len(XMP),
    }
    with pytest.raises(BitstreamError, match="chunk iCCP at byte 46: metadata: not one whole"):
        sadcodec.metadata(twice)
    found, problems = sadcodec.codec.metadata_left(twice)
    assert found == {"exif": METADATA["exif"], "xmp": XMP}
    assert len(problems) == 1
    np.testing.assert_array_equal(sadcodec.decode(twice), sadcodec.decode(data))


def test_of_many_chunks_of_a_kind_one_is_unpacked() -> None:
    """1000 chunks of 16 MB each in a file of 1 MB."""
    header, symbols = bitstream.read(sadcodec.encode(image(), **CODED))
    data = bitstream.write(header, symbols, [(b"xMLP", bytes(1 << 24))])
    at = data.index(b"xMLP") - 4
    size = len(data) - len(bitstream.write(header, symbols))
    many = data[:at] + 1000 * data[at : at + size] + data[at + size :]
    start = time.process_time()
    assert sadcodec.metadata(many) == {"xmp": bytes(1 << 24)}
    assert sadcodec.codec.metadata_left(many)[0] == {"xmp": bytes(1 << 24)}
    assert sadcodec.info(many).metadata == {"xmp": 1 << 24}
    assert time.process_time() - start < 5


# ---- The command --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_brings_metadata_back(kind: str, tmp_path: Path, run: Run) -> None:
    source, coded, back = (str(tmp_path / name) for name in (f"a.{kind}", "a.sad", f"b.{kind}"))
    Path(source).write_bytes(saved(image(), kind, METADATA))
    original = image_io.read_image(Path(source).read_bytes())[1]
    out, err = run("encode", source, "-o", coded, "--sites", "8", "-e", "1", "--json")
    assert json.loads(out)["metadata_bytes"] > 500
    assert err == ""
    out, err = run("decode", coded, "-o", back, "--json")
    assert json.loads(out)["metadata"] == list(METADATA)
    assert err == ""
    assert image_io.read_image(Path(back).read_bytes())[1] == original
    out, _ = run("info", coded, "--json")
    assert json.loads(out)["metadata"] == {name: len(each) for name, each in original.items()}
    out, _ = run("info", coded)
    assert f"metadata ICC profile ({len(ICC)} bytes), Exif (" in out


def test_strip_drops_metadata_and_turns_the_image(tmp_path: Path, run: Run) -> None:
    source, kept, bare = (str(tmp_path / name) for name in ("a.jpg", "kept.sad", "bare.sad"))
    Path(source).write_bytes(saved(image(), "jpeg", METADATA | {"exif": exif(6)}))
    coding = ("--sites", "8", "-e", "1", "--quiet")
    run("encode", source, "-o", kept, *coding)
    run("encode", source, "-o", bare, *coding, "--strip")
    bare_data, kept_data = Path(bare).read_bytes(), Path(kept).read_bytes()
    assert sadcodec.metadata(bare_data) == {}
    assert sadcodec.decode(bare_data).shape == (16, 12, 3)
    assert sadcodec.decode(kept_data).shape == (12, 16, 3)
    turned = image_io.oriented(sadcodec.decode(kept_data), exif(6))
    for options in (("a.png", "--strip"), ("a.ppm",), ("a.bmp", "--strip")):
        out = str(tmp_path / options[0])
        _, err = run("decode", kept, "-o", out, *options[1:])
        pixels, found = image_io.read_image(Path(out).read_bytes())
        assert found == {}
        np.testing.assert_array_equal(pixels, turned)
        told = f"sad: {out}: warning: ppm cannot hold this ICC profile, Exif, XMP\n"
        assert (told in err) == (len(options) == 1)
    run("encode", source, "--out-dir", str(tmp_path / "all"), *coding, "--strip")
    assert (tmp_path / "all" / "a.sad").read_bytes() == bare_data


def test_a_damaged_file_keeps_the_metadata_that_is_whole(tmp_path: Path, run: Run) -> None:
    settings = CODED | {"sites": 40, "groups": 2}
    data = bytearray(sadcodec.encode(image(40, 40), **settings, metadata=METADATA))
    data[-5] ^= 1
    data[data.index(b"eXIF") + 30] ^= 1
    source, out = tmp_path / "a.sad", str(tmp_path / "a.png")
    source.write_bytes(data)
    _, err = run("decode", str(source), "-o", out, "--repair")
    assert "chunk eXIF" in err
    expected = {name: METADATA[name] for name in ("icc_profile", "xmp")}
    assert image_io.read_image(Path(out).read_bytes())[1] == expected
