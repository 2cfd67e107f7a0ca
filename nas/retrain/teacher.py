"""A trained network as teacher (https://arxiv.org/abs/1503.02531; for transformers https://arxiv.org/abs/2012.12877)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.retrain.config import TEACHER_FOLDER
from space.errors import SpaceError, UserError, one_line
from space.weights import read_weights
from supernet.training.losses import Distilled

HUB = "hf-hub:"
FILES = ("config.json", "model.safetensors")
"""The files that are read from a folder or the hub: tensors and plain values, no pickles."""


class TeacherError(UserError):
    """A teacher that cannot be loaded, or does not fit the data."""


class Teacher:
    """Gives distillation targets for images that were normalised for its student.

    Args:
        network: of timm's kind, images (B, C, H, W) to logits (B, classes).
        kind: the target is the likeliest class (`hard`) or the probabilities (`soft`).
        weight: of the target; the labels have the rest.
        temperature: divides the logits of soft targets.
    """

    def __init__(self, network: nn.Module, kind: Literal["hard", "soft"], weight: float, temperature: float) -> None:
        # Imported here and below: it takes seconds, and most trainings have no teacher.
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, resolve_model_data_config

        self._network = network.eval().requires_grad_(False)
        self._kind = kind
        self._weight = weight
        self._temperature = temperature if kind == "soft" else 1.0
        data = resolve_model_data_config(network)
        student_mean, student_std, mean, std = (
            torch.tensor(values).view(-1, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, data["mean"], data["std"])
        )
        self._scale, self._shift = student_std / std, (student_mean - mean) / std
        self._size = tuple(data["input_size"][1:]) if getattr(network, "pretrained_cfg", {}).get("fixed_input_size") else None

    def distil(self, logits_BC: Tensor, images_BCHW: Tensor) -> Distilled:
        """A student's logits with their target."""
        own_BC = self.logits(images_BCHW)
        if self._kind == "hard":
            target_BC = F.one_hot(own_BC.argmax(1), own_BC.shape[1]).float()
        else:
            target_BC = (own_BC / self._temperature).softmax(1)
        return Distilled(logits_BC, target_BC, self._weight, self._temperature)

    @torch.no_grad()
    def logits(self, images_BCHW: Tensor) -> Tensor:
        """The teacher's logits (B, classes); images are resized where it accepts only one size."""
        device = images_BCHW.device
        # No copies where it is there already.
        self._network.to(device)
        own_BCHW = images_BCHW * self._scale.to(device) + self._shift.to(device)
        if self._size not in (None, tuple(own_BCHW.shape[2:])):
            own_BCHW = F.interpolate(own_BCHW, self._size, mode="bicubic", antialias=True)
        return self._network(own_BCHW).float()


def open_teacher(
    name: str, weights: str | None, kind: Literal["hard", "soft"], weight: float, temperature: float, num_classes: int, image_size: int
) -> Teacher:
    """Load a teacher and try it on images of the student's size.

    Args:
        name: `local-dir:FOLDER` with `config.json` and `model.safetensors`; `hf-hub:OWNER/NAME`, of which the same files are fetched;
            or a name of timm's, those of `space.models` included, whose weights are in a file.
        weights: that file, .safetensors.
        kind, weight, temperature: as `Teacher` takes them.

    Raises:
        TeacherError: there is no such network, the weights are another network's, or classes or image size do not fit.
    """
    network = _from_file(name, weights, num_classes) if weights is not None else _from_folder(name)
    teacher = Teacher(network, kind, weight, temperature)
    try:
        got = teacher.logits(torch.zeros(1, 3, image_size, image_size)).shape
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = one_line(error)
        raise TeacherError(f"teacher: got {name!r}, expected a network that takes images of {image_size} px ({reason:.120})") from None
    if got != (1, num_classes):
        raise TeacherError(f"teacher: got {name!r} with outputs {tuple(got[1:])}, expected the data's {num_classes} classes")
    return teacher


def _from_file(name: str, weights: str, num_classes: int) -> nn.Module:
    if name.startswith((TEACHER_FOLDER, HUB)):
        raise TeacherError(f"teacher weights: got {weights} for {name!r}, which has its own; expected a name of timm's")
    if Path(weights).suffix != ".safetensors":
        raise TeacherError(f"teacher weights: got {weights}, expected a .safetensors file")
    network = _create(name, num_classes=num_classes)
    try:
        network.load_state_dict(read_weights(Path(weights)))
    except SpaceError as error:
        raise TeacherError(f"teacher weights: {error}") from None
    except RuntimeError as error:
        raise TeacherError(f"teacher weights: {weights}: not those of {name} for {num_classes} classes ({one_line(error):.160})") from None
    return network


def _from_folder(name: str) -> nn.Module:
    if name.startswith(HUB):
        folder = _fetched(name.removeprefix(HUB))
    elif name.startswith(TEACHER_FOLDER):
        folder = Path(name.removeprefix(TEACHER_FOLDER))
    else:
        raise TeacherError(f"teacher: got {name!r} without weights, expected --teacher-weights, {TEACHER_FOLDER}FOLDER or {HUB}OWNER/NAME")
    for file in FILES:
        if not (folder / file).is_file():
            raise TeacherError(f"teacher: {folder}: got no {file}, expected a folder with {' and '.join(FILES)}")
    return _create(f"{TEACHER_FOLDER}{folder}", pretrained=True)


def _fetched(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # The hub's own, those of requests and of the file system: it documents no common class.
        raise TeacherError(f"teacher: {HUB}{repository}: cannot be fetched ({one_line(error):.160})") from None


def _create(name: str, **options: Any) -> nn.Module:
    import timm

    import space.models  # noqa: F401  # registers our networks as teachers

    try:
        return timm.create_model(name, **options)
    except Exception as error:  # Whatever an entry point of timm's makes of a config that it does not know.
        raise TeacherError(f"teacher: got {name!r}, expected a network that timm can make ({one_line(error):.160})") from None
