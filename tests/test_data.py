"""The images of data/: present, small, and each listed with where it comes from and its licence."""

import re
from pathlib import Path

import pytest
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
FREE_LICENCES = {"CC0", "public domain"}
EXPECTED = {  # file name: width, height, Pillow mode
    "astronaut.png": (256, 256, "RGB"),
    "camera.png": (256, 256, "L"),
    "chelsea.png": (301, 235, "RGB"),
    "coffee.png": (384, 256, "RGB"),
    "drawing.png": (320, 240, "RGB"),
}


def rows() -> dict[str, list[str]]:
    """Return the cells of the table in data/README.md by file name."""
    text = (DATA / "README.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells for cells in table}


def test_the_folder_holds_the_expected_images(data_images):
    assert [path.name for path in data_images] == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_image_is_as_described(name):
    width, height, mode = EXPECTED[name]
    with Image.open(DATA / name) as image:
        image.load()
        assert (*image.size, image.mode) == (width, height, mode)
        assert image.info == {}
    channels = "gray" if mode == "L" else mode
    assert rows()[name][1] == f"{width} x {height} {channels}"


def test_every_file_is_listed_with_source_author_and_free_licence():
    listed = rows()
    present = {path.name for path in DATA.iterdir() if path.name != "README.md"}
    assert set(listed) == present
    for name, (_, _, source, author, licence, changes) in listed.items():
        assert licence in FREE_LICENCES, name
        assert all(re.search(r"\w{3}", cell) for cell in (source, author, changes)), name


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 800_000
