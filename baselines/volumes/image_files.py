"""Image files at a glance, before anything is decoded: what no network can learn from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tifffile
from PIL import Image

from evaluator.tiff import DAMAGE, is_tiff

IMAGES = (".tif", ".tiff", ".png")
_PNG_KINDS = {"RGB": "in colour", "RGBA": "in colour", "LA": "grey with transparency"}
_FEW_KINDS = {"P": "an indexed palette", "1": "1 bit per pixel"}


def images_below(path: Path) -> list[Path]:
    """Files of images in a folder and its folders of planes, or the one file."""
    if path.is_file():
        return [path]
    return sorted(
        file for file in path.rglob("*")
        if file.is_file() and file.suffix.lower() in IMAGES and not file.name.startswith(".")
        and not any(part.endswith(".zarr") for part in file.parts)
    )  # fmt: skip


def faults_of(file: Path, *, mask: bool, channel: int = -1) -> Iterator[tuple[str, str]]:
    """(rule, sentence) for each thing that is wrong with a file.

    mask: values are classes, so a palette and single bits are as good as grey.
    channel: chosen by the user, so that colour is no fault.
    """
    if file.stat().st_size == 0:
        yield "empty-file", f"empty file (0 bytes): {file.name}"
        return
    try:
        kind = _kind(file, mask=mask, channel=channel)
    except DAMAGE as error:
        yield "unreadable", f"{file.name} cannot be read as an image: {error}"
        return
    if kind:
        yield (
            "dtype",
            (
                f"{file.name} is {kind}; expected one channel of 8 or 16 bits. "
                + (
                    "Save masks as grey values."
                    if mask
                    else "Save it as grey, or set data.channel."
                )
            ),
        )


def _kind(file: Path, *, mask: bool, channel: int) -> str:
    """What an image is that it should not be, "" if nothing."""
    if is_tiff(file):
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not mask:
                return _FEW_KINDS["P"]
            if page.dtype is None or page.dtype.kind not in "buif":
                return f"of the type {page.dtype}"
            if page.dtype.kind == "b" and not mask:
                return _FEW_KINDS["1"]
            return "in colour" if page.samplesperpixel > 1 and channel < 0 else ""
    with Image.open(file) as picture:
        if picture.mode in _FEW_KINDS:
            return "" if mask else _FEW_KINDS[picture.mode]
        return _PNG_KINDS.get(picture.mode, "") if channel < 0 else ""
