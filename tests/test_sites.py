from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sadcodec import sites as module
from sadcodec.backends import base
from sadcodec.errors import SadError, SiteError
from sadcodec.sites import Sites

HEADER = Path(__file__).resolve().parent.parent / "kernels" / "sad_core.h"


def rows(count: int = 5, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 6 + channels)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_columns_are_views_of_the_array(channels):
    params = rows(5, channels)
    sites = Sites(params)
    assert len(sites) == 5
    assert sites.channels == channels
    columns = [
        sites.position,
        sites.log_tau[:, None],
        sites.radius[:, None],
        sites.anisotropy,
        sites.color,
    ]
    np.testing.assert_array_equal(np.concatenate(columns, axis=1), params)
    assert all(np.shares_memory(column, params) for column in columns)


def test_from_fields_round_trip():
    sites = Sites(rows())
    again = Sites.from_fields(
        sites.position, sites.log_tau, sites.radius, sites.anisotropy, sites.color
    )
    np.testing.assert_array_equal(again.params, sites.params)
    assert not np.shares_memory(again.params, sites.params)


def test_derived_geometry():
    a, t = 1.7, 2.4  # t in (pi/2, pi): where a careless half angle would go negative
    sites = Sites.from_fields(
        [[0, 0]] * 2,
        [0.0, -3.0],
        [0, 0],
        [[a * np.cos(2 * t), a * np.sin(2 * t)], [0, 0]],
        [[0]] * 2,
    )
    np.testing.assert_allclose(sites.log_anisotropy, [a, 0], rtol=1e-6)
    np.testing.assert_allclose(sites.direction, [[np.cos(t), np.sin(t)], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(sites.tau, np.exp([0.0, -3.0]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (rows().astype(np.float64), "float32"),
        (rows().tolist(), "float32"),
        (rows()[0], "shape"),
        (rows(5, 0), "shape"),
        (rows(5, 5), "shape"),
        (rows(0), "at least one"),
        (np.asfortranarray(rows()), "contiguous"),
        (rows()[::2], "contiguous"),
    ],
)
def test_refuses(bad, message):
    with pytest.raises(SiteError, match=message):
        Sites(bad)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite_and_says_where(value):
    params = rows()
    params[3, 7] = value
    with pytest.raises(SadError, match="site 3 "):
        Sites(params)


@pytest.mark.parametrize(
    "change",
    [
        {"position": [[0, 0, 0]]},
        {"position": [0, 0]},
        {"log_tau": [0, 0]},
        {"log_tau": 0.0},
        {"radius": [[0]]},
        {"anisotropy": [[0]]},
        {"color": [0.5]},
    ],
)
def test_from_fields_refuses_shapes_that_do_not_fit(change):
    fields = {
        "position": [[0, 0]],
        "log_tau": [0],
        "radius": [0],
        "anisotropy": [[0, 0]],
        "color": [[0.5]],
    }
    assert len(Sites.from_fields(**fields)) == 1
    with pytest.raises(SiteError):
        Sites.from_fields(**(fields | change))


def test_bounds_and_columns_are_those_of_the_kernels():
    text = HEADER.read_text(encoding="utf-8")
    found = {name: float(value) for name, value in re.findall(r"\b(k\w+) = (-?[\d.]+)f?\b", text)}
    expected = {
        "kMinLogTau": module.LOG_TAU_RANGE[0],
        "kMaxLogTau": module.LOG_TAU_RANGE[1],
        "kMaxRadius": module.RADIUS_RANGE[1],
        "kMaxAnisotropy": module.MAX_LOG_ANISOTROPY,
        "kMinColor": module.COLOR_RANGE[0],
        "kMaxColor": module.COLOR_RANGE[1],
        "kMaxChannels": module.MAX_CHANNELS,
        "kMaxK": base.MAX_K,
        "kX": module.X,
        "kY": module.Y,
        "kLogTau": module.LOG_TAU,
        "kRadius": module.RADIUS,
        "kP": module.P,
        "kQ": module.Q,
        "kColor": module.COLOR,
    }
    assert {name: found.get(name) for name in expected} == expected
