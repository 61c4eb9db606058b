"""The chunk that says where groups matter: a region is read from few, to the same pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from diagrams import random_sites
from PIL import Image

import sadcodec
from sadcodec import bitstream
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.reference import logits, top_k
from sadcodec.bitstream import REACH, Header, QuantizerParameters, reach_bytes
from sadcodec.bitstream.reach import pack_reach, unpack_reach
from sadcodec.diagram import Diagram, open_diagram
from sadcodec.errors import BitstreamError, OptionError
from sadcodec.quantize import quantize
from sadcodec.reach import with_reach

DATA = Path(__file__).resolve().parent.parent / "data"
GROUPS = 9


def file_of(coder: str = "range", groups: int = GROUPS) -> bytes:
    """Return a file of groups, without the chunk: 600 x 500 px."""
    quantizer = QuantizerParameters(200, 100, 100, 100, 50, (300,) * 3, groups=groups)
    sites = random_sites(5, 5000, 600, 500, log_tau=(-1, 1))
    header = Header(600, 500, 3, 8, 8, 5000, quantizer, coder=coder)
    return bitstream.write(header, quantize(sites, 600, 500, quantizer))


@pytest.fixture(scope="module", params=["range", "zstd"])
def plain(request) -> bytes:
    return file_of(request.param)


REGIONS = [(0, 0, 40, 40), (300, 250, 64, 64), (599, 499, 1, 1), (0, 200, 600, 3), (0, 0, 600, 500)]


def test_regions_read_few_groups_and_give_the_same_pixels(plain):
    data = with_reach(plain)
    assert len(data) == len(plain) + reach_bytes(GROUPS)
    whole = sadcodec.decode(data, threads=1)
    np.testing.assert_array_equal(whole, sadcodec.decode(plain, threads=1))
    counts = []
    for x, y, width, height in REGIONS:
        part = sadcodec.decode(data, region=(x, y, width, height), threads=1)
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])
        counts.append(len(bitstream.read(data, region=(x, y, x + width, y + height))[1]))
    assert counts[0] < 2500
    assert counts[2] < 2500
    assert counts[-1] == 5000
    for options in ({"region": REGIONS[1], "scale": 3.3}, {"region": REGIONS[0], "size": (9, 8)}):
        np.testing.assert_array_equal(
            sadcodec.decode(data, threads=1, **options),
            sadcodec.decode(plain, threads=1, **options),
        )


def test_views_of_a_region_read_few_groups_too(plain):
    data, region = with_reach(plain), REGIONS[1]
    whole, part = open_diagram(plain, threads=1), open_diagram(data, threads=1, region=region)
    assert len(part.sites) < len(whole.sites)
    for draw in (Diagram.picture, Diagram.cells):
        np.testing.assert_array_equal(draw(part, region=region), draw(whole, region=region))
    np.testing.assert_array_equal(part.tau(region=region)[0], whole.tau(region=region)[0])
    with pytest.raises(OptionError, match="is not inside"):
        open_diagram(data, region=(599, 0, 2, 2))


def test_reaches_hold_every_point_that_takes_a_site():
    sites = random_sites(7, 200, 90, 60, log_tau=(-3, 2))
    starts = [0, 50, 120, 180]
    boxes = CpuBackend(2).reaches(sites, 90, 60, 8, starts)
    np.testing.assert_array_equal(boxes, CpuBackend(1).reaches(sites, 90, 60, 8, starts))
    y, x = np.mgrid[0:60:0.5, 0:90:0.5]
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    values = logits(sites.params.astype(np.float64), points)
    ids = top_k(values, 8)
    taken = np.take_along_axis(values, ids, axis=1)
    matters = taken > taken[:, :1] - 16
    group = np.searchsorted(starts, ids, side="right") - 1
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        where = points[(matters & (group == number)).any(axis=1)]
        assert len(where)
        assert (where.min(axis=0) >= (x0, y0)).all()
        assert (where.max(axis=0) <= (x1, y1)).all()


def test_a_file_of_one_group_needs_no_chunk():
    data = file_of(groups=1)
    assert with_reach(data) == data
    assert reach_bytes(1) == 0
    part = sadcodec.decode(data, region=(5, 6, 7, 8), threads=1)
    np.testing.assert_array_equal(part, sadcodec.decode(data, threads=1)[6:14, 5:12])


def test_boxes_come_back_widened_to_units():
    boxes = [(0, 0, 1, 1), (8, 16, 100001, 70), (0, 0, 0, 0)]
    content = pack_reach(7, 100001, 70, boxes)
    assert unpack_reach(content, 7, 100001, 70, 3) == [
        (0, 0, 2, 2),
        (8, 16, 100002, 70),
        (0, 0, 0, 0),
    ]
    assert unpack_reach(content, 8, 100001, 70, 3) is None
    assert unpack_reach(content, 7, 100001, 70, 4) is None
    assert unpack_reach(content[:-1], 7, 100001, 70, 3) is None
    assert unpack_reach(b"", 7, 100001, 70, 0) is None


def test_a_chunk_that_is_wrong_or_damaged(plain):
    """One that is of another file is not used; one with a wrong checksum is an error."""
    whole = sadcodec.decode(plain, threads=1)
    crc = bitstream.header_crc(plain)
    nowhere = pack_reach(crc, 600, 500, [(0, 0, 0, 0)] * GROUPS)
    for content in (b"", b"abc", struct.pack("<I", crc), nowhere, pack_reach(1, 600, 500, [])):
        data = bitstream.insert_chunks(plain, [(REACH, content)])
        part = sadcodec.decode(data, region=REGIONS[1], threads=1)
        np.testing.assert_array_equal(part, whole[250:314, 300:364])
    lies = pack_reach(crc, 600, 500, [(0, 0, 0, 0)] * (GROUPS - 1) + [(0, 0, 600, 500)])
    data = bitstream.insert_chunks(plain, [(REACH, lies)])  # another picture, but a picture
    assert sadcodec.decode(data, region=REGIONS[1], threads=1).shape == (64, 64, 3)
    np.testing.assert_array_equal(sadcodec.decode(data, threads=1), whole)
    damaged = bytearray(with_reach(plain))
    damaged[60] ^= 1
    with pytest.raises(BitstreamError, match="reCH"):
        sadcodec.decode(bytes(damaged), region=REGIONS[1], threads=1)


def test_groups_left_out_are_checked(plain):
    data = bytearray(with_reach(plain))
    data[-20] ^= 1  # in the last group, at the other end of the picture
    with pytest.raises(BitstreamError, match="GRP"):
        sadcodec.decode(bytes(data), region=REGIONS[0], threads=1)


@pytest.mark.parametrize("target", [{"size": 1500}, {"bpp": 0.8}])
def test_encoded_files_say_it_and_meet_their_target(target):
    image = np.asarray(Image.open(DATA / "coffee.png"))[:120, :160]
    data = sadcodec.encode(image, groups=4, effort=1, threads=1, backend="cpu", **target)
    most = target.get("size") or target["bpp"] * 160 * 120 / 8
    assert 0.98 * most < len(data) <= most
    assert sadcodec.info(data).chunks[0].type == "reCH"
    whole = sadcodec.decode(data, threads=1)
    part = sadcodec.decode(data, region=(90, 70, 30, 20), threads=1)
    np.testing.assert_array_equal(part, whole[70:90, 90:120])
