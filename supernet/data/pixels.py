"""What a viewer shows of an image, as 8-bit RGB.

Images are turned upright by their EXIF orientation, brought to sRGB by their colour profile, and laid on white where they are
transparent. Of moving images the first frame counts. Grey levels of more than 8 bits are scaled by the range of their format: 16-bit
ones by 65535, those of a 12-bit TIFF by 4095, floating-point ones by 1. Levels outside that range, or of an unknown one, are an error:
nothing is clipped.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

BACKGROUND = (255, 255, 255)
MAX_ASPECT = 100
"""Longer side of an image, in shorter ones: to bring a thread of pixels to a network's size would fill the memory."""
_NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
"""Formats that Pillow recognises, but leaves to other programs."""
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that it decodes itself."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NOT_DECODED)


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """The suffixes of those formats, in lower case and with their dot."""
    known = set(formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """An image of which only the header is read yet; ValueError where its sides differ too much."""
    with warnings.catch_warnings():
        # Pillow warns of much that it can read all the same, and of images beyond about 90 million pixels, which would fill the memory.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(file, formats=formats())
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise ValueError(f"got {image.width}x{image.height} pixels, expected sides that differ by a factor of {MAX_ASPECT} at most")
        yield image


def as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as a viewer shows it; ValueError where its levels have no known range, or lie outside it."""
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, BACKGROUND)
        ground.alpha_composite(image.convert("RGBA"))
        image = ground.convert("RGB")
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    transform = _to_srgb(profile, image.mode) if profile else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # Damaged metadata, for which Pillow raises errors of many kinds: viewers show such an image as it is stored.
        return image


def _scaled(image: Image.Image) -> Image.Image:
    levels, full = np.asarray(image), _full_scale(image)
    # Also where they are not numbers.
    if not (levels.min() >= 0 and levels.max() <= full):
        raise ValueError(f"got levels from {levels.min():g} to {levels.max():g}, expected 0 to {full:g}")
    return Image.fromarray(np.round(levels * (255 / full)).astype(np.uint8)).convert("RGB")


def _full_scale(image: Image.Image) -> float:
    """The level that stands for white."""
    if image.mode == "F":
        return 1.0
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError("got levels of 32-bit whole numbers, whose range is not known, expected 8 or 16 bits")
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    return 2.0 ** bits[0] - 1


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a colour profile to sRGB; None where it is sRGB, damaged, or one of other pixels: viewers ignore those, too."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
