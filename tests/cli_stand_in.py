"""A stand-in for the codec, and the command line run inside the test process."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_sad

import sadcodec
import sadcodec.evaluate.sweep  # with the real codec, whichever test comes first
from sadcodec import image_io
from sadcodec.bitstream import ChunkInfo, ColumnInfo, FileInfo, Header, QuantizerParameters, Repair
from sadcodec.engine import describe_backend

INFO = FileInfo(
    header=Header(4, 3, 1, 8, 8, 2, QuantizerParameters(100, 100, 100, 100, 0, (1000,))),
    file_bytes=60,
    groups=1,
    chunks=(ChunkInfo("SITE", 46, 2, critical=True, crc=0xAB),),
    columns=(ColumnInfo("position", 12.0, 6.0), ColumnInfo("gray", 4.0, 2.0)),
    metadata={},
)


@dataclasses.dataclass
class Report:
    sites: int = 7
    iterations: int = 10
    fit_psnr: float = 40.5
    psnr: float = math.inf
    bytes: int = 4
    bpp: float = 0.25
    seconds: float = 0.1
    weighted_psnr: float | None = None
    target: str = "bpp"
    value: float = 0.25
    warning: str | None = None
    metadata_bytes: int = 0


@dataclasses.dataclass
class Codec:
    """Stands in for sadcodec.codec: keeps what it was called with."""

    calls: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    result: bytes = b"SAD!"
    report: Report = dataclasses.field(default_factory=Report)
    image: np.ndarray = dataclasses.field(
        default_factory=lambda: np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    )
    repair: Repair = dataclasses.field(default_factory=lambda: Repair(2, (), ()))
    error: BaseException | None = None
    backend_error: Exception | None = None
    warning: Warning | None = None

    def load_backend(self, name: str, task: str) -> str:  # noqa: ARG002
        if self.backend_error:
            raise self.backend_error
        if self.warning:
            warnings.warn(self.warning, stacklevel=2)
        return name

    describe_backend = staticmethod(describe_backend)

    def encode_with_report(self, image: np.ndarray, **options: Any) -> tuple[bytes, Report]:
        options["progress"](0.5, "half")
        self.calls.append({"image": image, **options})
        if self.error:
            raise self.error
        return self.result, self.report

    def decode_with_report(self, data: bytes, **options: Any) -> tuple[np.ndarray, Repair]:
        options.pop("progress")(0.5, "half")
        self.calls.append({"data": data, **options})
        if self.error:
            raise self.error
        return self.image, self.repair

    def metadata_left(self, _: bytes, **__: Any) -> tuple[dict[str, bytes], list[str]]:
        return {}, []

    def info(self, data: bytes, **options: Any) -> FileInfo:
        self.calls.append({"data": data, **options})
        if self.error:
            raise self.error
        return INFO


@pytest.fixture(name="codec")
def codec_fixture(monkeypatch: pytest.MonkeyPatch) -> Codec:
    fake = Codec()
    monkeypatch.setitem(sys.modules, "sadcodec.codec", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(sadcodec, "codec", fake, raising=False)
    return fake


@dataclasses.dataclass
class Result:
    status: int
    out: bytes
    err: str


Sad = Callable[..., Result]


@pytest.fixture(name="sad")
def sad_fixture(
    codec: Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Sad:
    """Runs ``sad`` in a folder that holds in.png (4 x 3, RGB) and in.sad."""
    monkeypatch.chdir(tmp_path)
    Path("in.png").write_bytes(image_io.encode_image(codec.image, "png"))
    Path("in.sad").write_bytes(b"stored")

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = run_sad(*arguments)
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Result(status, out, err.decode())

    return run


def names(folder: str = ".") -> list[str]:
    return sorted(os.listdir(folder))


def assert_one_line_error(result: Result, *words: str) -> None:
    assert result.status == 1
    assert result.out == b""
    assert result.err.startswith("sad: ")
    assert result.err.count("\n") == 1
    for word in words:
        assert word in result.err
