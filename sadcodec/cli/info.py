"""``sad info``."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import arguments, common, compositions, parameters
from sadcodec.cli.completion import complete_files
from sadcodec.cli.frames import information


@click.command(short_help="What a .sad file holds.")
@click.argument(
    "sources", metavar="IN.sad...", nargs=-1, required=True, shell_complete=complete_files
)
@parameters.max_pixels_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of text.")
@parameters.quiet_option
def info(sources: tuple[str, ...], max_pixels: int | None, as_json: bool, quiet: bool) -> int:
    """Print dimensions, sites, and the bytes and bits per site of each column of IN.sad.

    All CRCs are checked; --quiet does only that, and the exit status tells: 1 if the file is
    damaged, 3 if some of several are.
    """
    status = 0
    for source in sources:
        try:
            _print(source, max_pixels, as_json, quiet)
        except common.Failure as failure:
            if len(sources) == 1:
                raise
            status = common.SOME_FAILED
            failure.show()
            if as_json:
                common.report_json({"input": source, "error": failure.cause}, data_on_stdout=False)
    return status


def _print(source: str, max_pixels: int | None, as_json: bool, quiet: bool) -> None:
    from sadcodec import codec

    with common.blame(source):
        data = arguments.read_coded(source)
        found = information(source, data, max_pixels) or compositions.information(
            source, data, max_pixels
        )
        if found is None:
            picture = codec.info(data, max_pixels=max_pixels)
            found = _record(source, picture), _text(source, picture)
    record, text = found
    if as_json:
        common.report_json(record, data_on_stdout=False)
    elif not quiet:
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(text.encode(errors="backslashreplace"))


_KIND = {1: "gray", 2: "gray and alpha", 3: "RGB", 4: "RGB and alpha"}


def _record(source: str, found: Any) -> dict[str, Any]:
    """The JSON report: names that scripts can rely on."""
    header = found.header
    quantizer = dataclasses.asdict(header.quantizer)
    del quantizer["groups"], quantizer["layers"]
    return {
        "input": source,
        "bytes": found.file_bytes,
        "bpp": found.bits_per_pixel,
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "sites": header.site_count,
        "k": header.k,
        "coder": header.coder,
        "metadata": found.metadata,
        "groups": found.groups,
        "layers": [dataclasses.asdict(layer) for layer in found.layers],
        "quantizer": quantizer,
        "columns": [
            {
                "name": column.name,
                "bytes": column.bytes,
                "bits": column.bits,
                "bits_per_site": column.bits_per_site,
            }
            for column in found.columns
        ],
        "chunks": [dataclasses.asdict(chunk) for chunk in found.chunks],
    }


def _text(source: str, found: Any) -> str:
    header = found.header
    image = f"{header.width} x {header.height}, {_KIND[header.channels]}"
    lines = [
        f"{common.shown(source)}: {found.file_bytes} bytes, {found.bits_per_pixel:.4f} bpp",
        f"image    {image}, {header.bit_depth} bits a channel",
        f"sites    {header.site_count}, K = {header.k}, coder {header.coder}"
        + (f", {found.groups} groups" if found.groups > 1 else ""),
    ]
    if found.metadata:
        lines.append("metadata " + ", ".join(_sizes(found.metadata)))
    lines.append("column                bytes  bits/site")
    bits = sum(column.bits for column in found.columns)
    rows = [(column.name, column.bytes, column.bits_per_site) for column in found.columns]
    rows.append(("all", bits / 8, bits / header.site_count))
    lines += [f"{name:<15} {size:11.1f} {per_site:10.3f}" for name, size, per_site in rows]
    if found.layers:
        lines.append("layer   sites      bytes  up to byte")
        lines += [
            f"{number:5} {layer.sites:7} {layer.bytes:10} {layer.end:11}"
            for number, layer in enumerate(found.layers, 1)
        ]
    lines.append("chunk  offset      bytes  CRC-32")
    lines += [
        f"{chunk.type:<5} {chunk.offset:7} {chunk.length:10}  {chunk.crc:08x} right"
        for chunk in found.chunks
    ]
    return "\n".join(lines) + "\n"


def _sizes(metadata: dict[str, int | None]) -> list[str]:
    return [
        f"{common.METADATA[name]} ({'damaged' if size is None else f'{size} bytes'})"
        for name, size in metadata.items()
    ]
