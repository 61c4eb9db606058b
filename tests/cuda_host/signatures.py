"""Kernels' signatures, read from the text of a .cu file."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["Parameter", "Signature", "rewrite_dynamic_shared", "signatures", "without_comments"]

# C++ names of the arithmetic types, after "unsigned int" and the like have been shortened.
_DTYPES = {
    "bool": "bool",
    "char": "int8",
    "signed char": "int8",
    "int8_t": "int8",
    "unsigned char": "uint8",
    "uint8_t": "uint8",
    "short": "int16",
    "int16_t": "int16",
    "unsigned short": "uint16",
    "uint16_t": "uint16",
    "int": "int32",
    "int32_t": "int32",
    "unsigned": "uint32",
    "uint32_t": "uint32",
    "long": "int64",
    "long long": "int64",
    "int64_t": "int64",
    "ptrdiff_t": "int64",
    "unsigned long": "uint64",
    "unsigned long long": "uint64",
    "uint64_t": "uint64",
    "size_t": "uint64",
    "float": "float32",
    "double": "float64",
}
_VECTOR_ELEMENTS = {
    "uchar": "uint8",
    "short": "int16",
    "ushort": "uint16",
    "int": "int32",
    "uint": "uint32",
    "longlong": "int64",
    "ulonglong": "uint64",
    "float": "float32",
    "double": "float64",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    `ctype` is the C++ type without const, * and __restrict__: that of the elements if `pointer`.
    """

    name: str
    ctype: str
    pointer: bool
    const: bool
    restrict: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Of the value, or of the array's elements: a structure's are taken to be float32."""
        if self.ctype in _DTYPES:
            return np.dtype(_DTYPES[self.ctype])
        vector = re.fullmatch(r"([a-z]+)[1-4]", self.ctype)
        if vector and vector[1] in _VECTOR_ELEMENTS:
            return np.dtype(_VECTOR_ELEMENTS[vector[1]])
        if not self.pointer:
            raise ValueError(f"parameter {self.name}: type {self.ctype} cannot be passed by value")
        return np.dtype(np.float32)


@dataclass(frozen=True)
class Signature:
    """A kernel: `launch_bounds` is the text of the largest block size, as C++ wrote it."""

    name: str
    parameters: tuple[Parameter, ...]
    launch_bounds: str | None


def without_comments(text: str) -> str:
    """Blank out comments; lines and columns stay, and so do string literals."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found[0] in "\"'" else re.sub(r"[^\n]", " ", found)

    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def signatures(text: str) -> tuple[Signature, ...]:
    """Return the kernels that a .cu file defines.

    Raises
    ------
    ValueError
        If a ``__global__`` function is not of the form
        ``extern "C" __global__ void [__launch_bounds__(n)] name(parameters)``.
    """
    text = without_comments(text)
    found = []
    for match in re.finditer(r"__global__", text):
        line = text.count("\n", 0, match.start()) + 1
        if not re.search(r'extern\s+"C"\s+$', text[: match.start()]):
            raise ValueError(f'line {line}: __global__ without extern "C" before it')
        found.append(_signature(text[match.end() :], line))
    return tuple(found)


def _signature(text: str, line: int) -> Signature:
    """Parse what follows ``__global__``."""
    bounds = None
    place = re.match(r"\s*(?:void\s+)?__launch_bounds__\s*", text)
    if place:
        inside, rest = _parenthesized(text[place.end() :])
        bounds = _split(inside)[0]
        text = ("void " if "void" in place[0] else "") + rest
    head = re.match(r"\s*void\s+(\w+)\s*(?=\()", text)
    if not head:
        raise ValueError(f"line {line}: no kernel signature after __global__")
    inside, _ = _parenthesized(text[head.end() :])
    parts = [] if inside.strip() in ("", "void") else _split(inside)
    return Signature(head[1], tuple(_parameter(part) for part in parts), bounds)


def _parenthesized(text: str) -> tuple[str, str]:
    """Split "(a, f(b)) rest" into "a, f(b)" and " rest"."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:i], text[i + 1 :]
    raise ValueError(f"no end of {text[:40]!r}")


def _split(text: str) -> list[str]:
    """Split at the commas that lie in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "(<[{") - (character in ")>]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _parameter(text: str) -> Parameter:
    restrict = "__restrict" in text
    text = re.sub(r"__restrict(__)?", " ", text)
    match = re.fullmatch(r"(.*[\s*&])(\w+)", text.strip(), flags=re.DOTALL)
    if not match or match[1].count("*") > 1 or "&" in match[1]:
        raise ValueError(f"cannot read the parameter {text.strip()!r}")
    kind, star, _ = match[1].partition("*")
    words = [word for word in kind.split() if word not in ("const", "struct")]
    ctype = " ".join(words)
    for long, short in (("long long int", "long long"), ("unsigned int", "unsigned")):
        ctype = ctype.replace(long, short)
    return Parameter(match[2], ctype, bool(star), "const" in kind.split(), restrict)


def rewrite_dynamic_shared(text: str) -> str:
    """Replace declarations of dynamic shared memory by what shim.h understands."""
    pattern = r"\bextern\s+__shared__\s+(?:__align__\(\w+\)\s+)?([\w:\s]+?)\s+(\w+)\s*\[\s*\]"
    return re.sub(pattern, r"SAD_HOST_DYNAMIC_SHARED(\1, \2)", text)
