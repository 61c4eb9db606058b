"""The examples: every operator has its adjoint, and every script prints its table and figure."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROBLEMS = ("scattered", "scratched", "enlargement", "noisy", "moved", "projected")


@pytest.fixture(scope="module")
def example():
    """Return an example's module by name."""
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLES))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_adjoint_norm_and_data(example, name, channels):
    rng = np.random.default_rng(2)
    image = rng.random((44, 44, channels))
    problems = example("problems")
    problem = problems.PROBLEMS[name](image, np.random.default_rng(3))
    x, y = rng.standard_normal(image.shape), rng.standard_normal(problem.data.shape)
    assert np.sum(problem.forward(x) * y) == pytest.approx(np.sum(x * problem.adjoint(y)))
    found = x
    for _ in range(30):
        found = problem.adjoint(problem.forward(found / np.linalg.norm(found)))
    assert np.linalg.norm(found) <= problem.norm**2 * (1 + 1e-9)
    assert np.linalg.norm(found) >= 0.9 * problem.norm**2
    # The data are the image's, with the noise that the problem says.
    sigma = {"noisy": 0.1, "moved": 0.01}.get(name, 0.0)
    rest = problem.forward(image) - problem.data
    assert np.sqrt(np.mean(rest**2)) == pytest.approx(sigma, rel=0.1, abs=1e-12)
    assert problem.guess.shape == problem.before.shape == image.shape
    assert problem.guess.dtype == np.float32


def test_the_random_part_of_a_projection_has_the_mean(example):
    image = np.random.default_rng(4).random((20, 20, 2))
    problem = example("problems").projected(image, np.random.default_rng(5))
    assert problem.data.shape == (100, 2)
    np.testing.assert_allclose(problem.data[0], image.mean(axis=(0, 1)) * 20)


def run(example, monkeypatch, capsys, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script, "--threads", "1", *map(str, arguments)])
    example(script).main()
    return capsys.readouterr().out


def table_of(text):
    return [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]


TINY = ("--images", "coffee", "--side", "44", "--fits", "2", "--iterations", "60")


def test_inverse_problems_print_tables(example, monkeypatch, capsys):
    text = run(example, monkeypatch, capsys, "inverse", *TINY)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        *PROBLEMS,
        "perceptual",
    ]
    for part in text.split("## ")[1:-1]:
        head, _, row, means = table_of(part)
        assert row[1:] == means[1:]
        values = dict(zip(map(str.strip, head[1:]), map(float, row[1:])))
        assert values["mean of 2"] > values["data"], part
    *_, row = table_of(text)
    squared, perceptual = (float(cell.split(",")[2]) for cell in row[2:])
    assert perceptual > squared


def test_a_problem_draws_its_figure(example, monkeypatch, capsys, tmp_path):
    run(example, monkeypatch, capsys, "inverse", *TINY, "--problem", "noisy", "--figures", tmp_path)
    with Image.open(tmp_path / "inverse_noisy.png") as figure:
        assert figure.format == "PNG"


def test_forward_uses_print_tables(example, monkeypatch, capsys):
    tiny = ["--images", "camera", "--sites", "200", "--effort", "1", "--size", "60"]
    text = run(example, monkeypatch, capsys, "forward", *tiny)
    _, texture, edit, detail = (table_of(part) for part in text.split("## "))
    assert [row[0].strip() for row in texture[2:]] == ["diagram", "bilinear", "bicubic"]
    assert all(float(row[1]) > 20 for row in texture[2:])
    (_, of_sites, luma), (_, of_pixels, _) = edit[2:]
    assert float(of_sites) < float(of_pixels)
    assert float(luma) < 1e-4
    kept = [list(map(float, row[1:4])) for row in detail[2:]]
    assert kept[0][0] == kept[0][1] == kept[0][2]
    assert all(by_delta > max(once, by_chance) for by_delta, once, by_chance in kept[1:4])
    assert all(low < high for (low, *_), (high, *_) in zip(kept[1:], kept))
