"""Small folders of images and masks, as ADE20K, Pascal VOC and Cityscapes have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from supernet.data.segmentation.scenes import CLASS_NAMES, draw_scenes

PALETTE = [value for number in range(256) for value in (number * 37 % 256, number * 91 % 256, number * 53 % 256)]


def as_mask(numbers: np.ndarray, kind: str = "grey") -> Image.Image:
    image = Image.fromarray(numbers.astype(np.uint8))
    if kind == "palette":
        image.putpalette(PALETTE)
    return image


def write_ade20k(
    folder: Path, counts: Mapping[str, int], kind: str = "grey", first: int = 0, names: bool = True, masks: str = "annotations"
) -> Path:
    """Scenes in ADE20K's layout.

    Args:
        counts: of scenes, by the names of splits.
        first: the number of the first class in the masks.
    """
    drawn, number = draw_scenes(sum(counts.values())), 0
    for split, count in counts.items():
        for directory in ("images", masks):
            (folder / directory / split).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            Image.fromarray(drawn.pixels[number]).save(folder / "images" / split / f"{number}.png")
            mask = np.where(drawn.masks[number] == 255, 255, drawn.masks[number].astype(int) + first)
            as_mask(mask, kind).save(folder / masks / split / f"{number}.png")
            number += 1
    if names:
        (folder / "classes.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    return folder


def write_voc(folder: Path, train: int = 12, val: int = 4) -> Path:
    """Scenes in VOC's layout, and an image without a mask, as its images for detection."""
    drawn = draw_scenes(train + val)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number in range(train + val):
        Image.fromarray(drawn.pixels[number]).save(folder / "JPEGImages" / f"{number:03}.jpg")
        as_mask(drawn.masks[number], "palette").save(folder / "SegmentationClass" / f"{number:03}.png")
    Image.fromarray(drawn.pixels[0]).save(folder / "JPEGImages" / "other.jpg")
    for split, numbers in (("train", range(train)), ("val", range(train, train + val)), ("trainval", range(train + val))):
        (folder / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{number:03}\n" for number in numbers))
    return folder


def write_cityscapes(folder: Path, ids: str = "labelTrainIds", train: int = 12, val: int = 4) -> Path:
    """Scenes in Cityscapes' layout, in two cities a split."""
    drawn = draw_scenes(train + val)
    of_class = np.array([10, 0, 13, 2, 5]) if ids == "labelTrainIds" else np.array([23, 7, 26, 11, 17])
    for number in range(train + val):
        split, city = ("train" if number < train else "val"), ("aachen", "bochum")[number % 2]
        image, mask = (folder / top / split / city for top in ("leftImg8bit", "gtFine"))
        for directory in (image, mask):
            directory.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.pixels[number]).save(image / f"{city}_{number}_leftImg8bit.png")
        numbers = np.append(of_class, np.zeros(251, dtype=int) + 255)[drawn.masks[number]] if ids == "labelTrainIds" else None
        if numbers is None:
            # 0 is unlabelled.
            numbers = np.append(of_class, np.zeros(251, dtype=int))[drawn.masks[number]]
        as_mask(numbers).save(mask / f"{city}_{number}_gtFine_{ids}.png")
        as_mask(np.zeros_like(drawn.masks[number]), "palette").save(mask / f"{city}_{number}_gtFine_color.png")
    return folder
