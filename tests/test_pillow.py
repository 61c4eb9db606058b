"""The Pillow plugin, and imageio through it."""

import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

import sadcodec
from sadcodec import bitstream
from sadcodec.bitstream import container, header
from sadcodec.pillow import _PREFIX

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.sad").read_bytes()


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """The file with chunks, packed as they are, before its sites."""
    _, end = header.unpack_header(data, bitstream.Limits())
    return data[:end] + b"".join(container.pack_chunk(*c) for c in chunks) + data[end:]


def with_size(width: int, height: int) -> bytes:
    """A file of one site whose header states this size."""
    head, symbols = bitstream.read(golden("one-site"))
    head = header.Header(
        **{**vars(head), "width": width, "height": height},
    )
    return bitstream.write(head, symbols)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.sad")))
def test_opens_every_golden_file(name):
    path = GOLDEN / f"{name}.sad"
    pixels = sadcodec.decode(path.read_bytes())
    height, width, channels = pixels.shape
    with Image.open(path) as image:
        assert (image.format, image.get_format_mimetype()) == ("SAD", "image/x-sad")
        assert image.size == (width, height)
        assert image.getbands() == {1: ("L",), 2: ("L", "A"), 3: ("R", "G", "B")}.get(
            channels, ("R", "G", "B", "A")
        ) or image.mode.startswith("I;16")
        shown = np.asarray(image).reshape(height, width, channels)
    if pixels.dtype == np.uint16 and shown.dtype == np.uint8:
        assert np.abs(shown - pixels / 257).max() <= 0.5
    else:
        assert np.array_equal(shown, pixels)
    assert np.array_equal(iio.imread(path).reshape(shown.shape), shown)


@pytest.mark.parametrize("first", ["import sadcodec", "import PIL.Image", "import imageio.v3"])
def test_either_order_of_imports(first, tmp_path):
    code = (
        f"{first}; import sadcodec, PIL.Image; print(PIL.Image.open({str(GOLDEN / 'gray.sad')!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "SadImageFile" in run.stdout


def test_opening_reads_nothing_of_the_sites():
    class Watched(io.BytesIO):
        last = 0

        def read(self, size=-1):
            data = super().read(size)
            self.last = max(self.last, self.tell())
            return data

    data = golden("groups-photo")
    file = Watched(data)
    image = Image.open(file)
    assert image.size == sadcodec.decode(data).shape[1::-1]
    assert file.last < 100 < len(data)


def test_metadata_becomes_info():
    exif = Image.Exif()
    exif[0x0112] = 6
    chunks = [(b"iCCP", b"a profile"), (b"eXIF", exif.tobytes()[6:]), (b"xMLP", b"<x/>")]
    head, symbols = bitstream.read(golden("rgb"))
    image = Image.open(io.BytesIO(bitstream.write(head, symbols, chunks)))
    assert image.info["icc_profile"] == b"a profile"
    assert image.info["xmp"] == b"<x/>"
    assert image.getexif()[0x0112] == 6
    assert ImageOps.exif_transpose(image).size == image.size[::-1]


def test_metadata_is_saved():
    image = Image.new("RGB", (9, 7), "teal")
    image.info["icc_profile"] = b"a profile"
    exif = Image.Exif()
    exif[0x0112] = 6
    for options, kept in (
        ({"exif": exif, "xmp": b"<x/>"}, {"icc_profile", "exif", "xmp"}),
        ({"icc_profile": None}, set()),
        ({}, {"icc_profile"}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, "SAD", sites=2, effort=1, backend="cpu", **options)
        found = Image.open(buffer)
        assert {"icc_profile", "exif", "xmp"} & found.info.keys() == kept
        assert found.getexif().get(0x0112, 1) == (6 if "exif" in kept else 1)


def test_metadata_that_cannot_be_unpacked_is_left_out():
    data = golden("rgb")
    bad = with_chunks(data, (b"iCCP", b"no zstd frame"), (b"zzZz", b"unknown"))
    image = Image.open(io.BytesIO(bad))
    assert not image.info
    assert np.array_equal(np.asarray(image), sadcodec.decode(data))


def test_of_each_type_of_metadata_the_first_counts():
    head, symbols = bitstream.read(golden("rgb"))
    chunks = [(b"xMLP", b"long" * 100), (b"xMLP", b"short"), (b"eXIF", b"MM"), (b"eXIF", b"II")]
    data = bitstream.write(head, symbols, chunks)
    for most, kept in ((1000, {b"xMLP": b"long" * 100, b"eXIF": b"MM"}), (399, {b"eXIF": b"MM"})):
        limits = bitstream.Limits(max_metadata=most)
        assert bitstream.read_front(io.BytesIO(data), limits)[1] == kept


def test_chunks_without_end_are_refused():
    many = with_chunks(golden("rgb"), *[(b"zzZz", b"")] * 1025)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(many))


BAD = sorted(path.name for path in (GOLDEN / "bad").glob("*.sad"))


@pytest.mark.parametrize("name", BAD)
def test_bad_files_raise_what_pillow_raises(name):
    with warnings.catch_warnings(), pytest.raises((OSError, Image.DecompressionBombError)):  # noqa: PT012
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(GOLDEN / "bad" / name) as image:
            image.load()


def test_damage_is_named():
    data = bytearray(golden("rgb"))
    data[-10] ^= 1
    image = Image.open(io.BytesIO(data))
    with pytest.raises(OSError, match=r"chunk SITE at byte .* checksum"):
        image.load()


def test_load_truncated_images_repairs(monkeypatch):
    data = golden("groups-photo")[:-40]
    with pytest.raises(OSError, match="ends inside"):
        Image.open(io.BytesIO(data)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.warns(sadcodec.DamageWarning):
        shown = np.asarray(Image.open(io.BytesIO(data)))
    with pytest.warns(sadcodec.DamageWarning):
        assert np.array_equal(shown, sadcodec.decode(data, repair=True))


def test_pillows_limit_of_pixels_holds(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(with_size(50, 30))).load()
    huge = io.BytesIO(with_size(50, 41))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(huge)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.open(huge).load()


def test_parser_waits_for_the_whole_file():
    data = golden("rgb")
    parser = ImageFile.Parser()
    for at in range(0, len(data), 100):
        parser.feed(data[at : at + 100])
    assert np.array_equal(np.asarray(parser.close()), sadcodec.decode(data))


@pytest.fixture(scope="module")
def photo():
    with Image.open(ROOT / "data" / "chelsea.png") as image:
        return image.resize((48, 32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX"])
def test_saves_what_encode_makes(photo, mode):
    image = photo.convert(mode)
    kept = {"1": "L", "P": "RGB", "RGBX": "RGB"}.get(mode, mode)
    file = io.BytesIO()
    image.save(file, "SAD", sites=40, effort=1)
    assert file.getvalue() == sadcodec.encode(np.asarray(image.convert(kept)), sites=40, effort=1)
    assert Image.open(file).mode == kept


def test_save_hands_masks_on(photo):
    options = {"sites": 40, "effort": 1, "roi": [(0, 0, 9, 9, 4.0)]}
    options["mask"] = np.full(photo.size[::-1], 255, np.uint8)
    file = io.BytesIO()
    photo.save(file, "SAD", **options)
    assert file.getvalue() == sadcodec.encode(np.asarray(photo), **options)
    assert file.getvalue() != sadcodec.encode(np.asarray(photo), sites=40, effort=1)


def test_saves_16_bit_gray(photo):
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "SAD", sites=40, effort=1)
    assert file.getvalue() == sadcodec.encode(deep, sites=40, effort=1)


def test_save_refuses_with_pillows_errors(photo, tmp_path):
    with pytest.raises(OSError, match="cannot write mode CMYK as SAD"):
        photo.convert("CMYK").save(tmp_path / "x.sad")
    with pytest.raises(ValueError, match="bpp"):
        photo.save(tmp_path / "x.sad", bpp=-1)
    with pytest.raises(OSError, match=r"\d"):
        photo.save(tmp_path / "x.sad", size=1, strict=True)
    assert not (tmp_path / "x.sad").exists()


def test_imageio_writes(photo, tmp_path):
    pixels = np.asarray(photo)
    iio.imwrite(tmp_path / "x.sad", pixels, bpp=1, effort=1)
    assert (tmp_path / "x.sad").read_bytes() == sadcodec.encode(pixels, bpp=1, effort=1)


def test_the_examples_of_the_documentation_run(photo, tmp_path, monkeypatch):
    photo.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "INTEGRATION.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "INTEGRATION.md", "exec"), {})  # noqa: S102
    with Image.open("copy.sad") as copy:
        assert copy.size == photo.size


def test_the_prefix_is_the_signature():
    assert _PREFIX == header.SIGNATURE
