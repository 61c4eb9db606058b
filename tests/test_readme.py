"""What README.md shows is run: the Python example and the options of the commands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "data" / "camera.png", tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    assert names["decoded"].shape[:2] == names["image"].shape[:2]
    assert names["decoded"].dtype == names["image"].dtype
    height, width = names["image"].shape[:2]
    assert 8 * len(names["data"]) / (height * width) == pytest.approx(0.5, rel=0.05)
    assert capsys.readouterr().out.strip(), "the cut file must be refused"


def test_the_commands_take_the_options_shown():
    commands = re.findall(r"^\$ sad (\w+) (.*)$", README, flags=re.MULTILINE)
    assert {name for name, _ in commands} == {"encode", "decode", "info", "eval", "export"}
    for name, arguments in commands:
        run = [sys.executable, "-m", "sadcodec", name, "--help"]
        text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"(?<!\S)--?[a-z-]+", arguments):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"sad {name} has no {option}"


def test_modules_are_there_as_the_documents_write_them():
    texts = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    found = set(re.findall(r"\bsadcodec\.(?!torch)([a-z_]+)\.[a-z_]+\(", " ".join(texts)))
    assert "image_io" in found
    lines = [f"sadcodec.{name}" for name in sorted(found | {"inverse", "losses", "views"})]
    subprocess.run([sys.executable, "-c", "\n".join(["import sadcodec", *lines])], check=True)


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
