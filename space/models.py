"""timm's entry points: importing this module adds the published networks, and any architecture, to `timm.create_model`.

    import space.models

    timm.create_model("token_mixer", architecture="best.yaml", num_classes=10)
    timm.create_model("token_mixer_davit_t", features_only=True)

    space.models.register_network("mine", "best.yaml")
    timm.create_model("mine", features_only=True)

A published network's name has underscores here: `davit-t` is `token_mixer_davit_t`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import DefaultCfg, build_model_with_cfg, generate_default_cfgs, is_model, register_model
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_architecture, parent_names, parse_architecture
from space.network import TokenMixerNet, build_network
from space.parts import build_part

ArchitectureLike = Architecture | Mapping[str, Any] | str | Path
"""A value, the mapping that its YAML holds, a file, or a published network's name."""


@register_model
def token_mixer(pretrained: bool = False, *, architecture: ArchitectureLike, **options: Any) -> nn.Module:
    """The network of an architecture.

    Options are timm's: `num_classes`, `in_chans`, `drop_rate`, `drop_path_rate`, `global_pool`, `device`, `dtype`, `features_only` with
    `out_indices` and `feature_cls` (`getter`, `list`, `dict`, `fx`).
    """
    return _create("token_mixer", pretrained, architecture, options)


def entry_point_name(parent: str) -> str:
    """A published network's name in timm."""
    return f"token_mixer_{parent.replace('-', '_')}"


def register_network(name: str, network: ArchitectureLike) -> None:
    """Make a network one of timm's models in this process, for tools that know a model by its name alone.

    Args:
        name: a Python identifier that is no other model's.
        network: an architecture, or a folder that `nas.export --format timm` wrote; the folder's weights are the pretrained ones.
    """
    if not name.isidentifier() or (name not in default_cfgs and (is_model(name) or name in globals())):
        raise SpaceError(f"name: got {name!r}, expected a Python identifier that is no other model's")
    if isinstance(network, str | Path) and Path(network).is_dir():
        architecture, cfg = _exported(Path(network).resolve())
    else:
        architecture = _value_of(network)
        cfg = default_cfg(architecture)

    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        options["pretrained_cfg"] = options.get("pretrained_cfg") or cfg
        return _create(name, pretrained, architecture, options)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"The network {architecture.name}; options as for `token_mixer`."
    default_cfgs.update(generate_default_cfgs({name: cfg}))
    globals()[name] = register_model(create)


def _exported(folder: Path) -> tuple[Architecture, dict[str, Any]]:
    """The architecture in an exported folder, and timm's description of its weights."""
    file = folder / "config.json"
    try:
        document = json.loads(file.read_bytes()) if file.is_file() else None
    except ValueError:
        document = None
    match document:
        case {"model_args": {"architecture": dict(architecture)}, "pretrained_cfg": dict(cfg)}:
            return parse_architecture(architecture, str(file)), cfg | {"file": str(folder / "model.safetensors")}
    raise SpaceError(f"network: got the folder {folder}, expected one that `nas.export --format timm` wrote")


def _create(name: str, pretrained: bool, architecture: ArchitectureLike, options: dict[str, Any]) -> nn.Module:
    value = _value_of(architecture)
    options["pretrained_cfg"] = options.get("pretrained_cfg") or default_cfg(value)
    feature_class = options.pop("feature_cls", "getter")
    # timm's own classes for lists and dictionaries rebuild the network of its children, which is none of ours.
    feature_class = {"getter": _FeatureList, "list": _FeatureList, "dict": _FeatureDict}.get(feature_class, feature_class)
    # Without a choice of indices: every feature map.
    feature_cfg = {"feature_cls": feature_class, "out_indices": options.pop("out_indices", None) or _every_feature(value)}
    return build_model_with_cfg(_build, name, pretrained, feature_cfg=feature_cfg, architecture=value, **options)


class _FeatureList(FeatureGetterNet):
    """Feature maps in a list."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As of `TokenMixerNet`."""
        assert isinstance(self.model, TokenMixerNet)
        self.model.set_grad_checkpointing(enable)


class _FeatureDict(_FeatureList):
    """Feature maps by index."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return dict(zip(map(str, self.feature_info.out_indices), super().forward(x), strict=True))


def _every_feature(architecture: Architecture) -> tuple[int, ...]:
    return tuple(range(len(build_network(architecture, device="meta").feature_info)))


def _value_of(architecture: ArchitectureLike) -> Architecture:
    if isinstance(architecture, Architecture):
        return architecture
    return parse_architecture(architecture, "architecture") if isinstance(architecture, Mapping) else load_architecture(architecture)


def _build(architecture: Architecture, num_classes: int, in_chans: int, **options: Any) -> TokenMixerNet:
    return build_network(architecture.replace(num_classes=num_classes, in_chans=in_chans), **options)


def default_cfg(architecture: Architecture) -> dict[str, Any]:
    """timm's description of a network: there are no weights, and inputs are normalised as in the papers."""
    stem, head = architecture.parts[0], architecture.parts[-1]
    modules = build_part(stem, device="meta").named_modules()
    return {
        "url": "",
        "num_classes": architecture.num_classes,
        "input_size": (architecture.in_chans, architecture.image_size, architecture.image_size),
        "pool_size": head.in_size,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": next(f"stem.{name}" for name, module in modules if isinstance(module, nn.Conv2d)),
        "classifier": "head.fc",
    }


default_cfgs: dict[str, DefaultCfg] = {}
"""timm's descriptions of the registered networks, by name; timm finds them by this variable's name."""

for _parent in parent_names():
    register_network(entry_point_name(_parent), _parent)
