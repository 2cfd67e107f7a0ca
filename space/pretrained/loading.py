"""A published network with the weights of a file, whatever the number of its classes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from space.architecture import Architecture
from space.errors import SpaceError, one_line
from space.files import load_architecture
from space.network import TokenMixerNet, build_network
from space.official import load_official, official_tensor
from space.pretrained.fetching import NamedWeights, Say, find_weights
from space.pretrained.sources import HEAD_SIZES
from space.weights import read_weights

CLASSIFIER = "head.fc.weight"


def load_named(wanted: NamedWeights, folder: Path | None = None, say: Say = lambda line: None) -> TokenMixerNet:
    """A network with its weights, which `find_weights` finds; SpaceError where there are none, or another network's."""
    file = find_weights(wanted, folder, say)
    assert file is not None
    return load_pretrained(wanted.name, file, say)


def load_pretrained(name: str, file: Path, say: Say = lambda line: None) -> TokenMixerNet:
    """A network in evaluation mode with the weights of a file, official ones or this package's, and as many classes as these have.

    Args:
        name: a published network's, or an architecture's file.
        say: is told of a doubt that the file leaves.

    Raises:
        SpaceError: the file cannot be read, or holds another network's weights.
    """
    architecture, weights = load_architecture(name), read_weights(file)
    is_own = CLASSIFIER in weights and weights.keys() == build_network(architecture, device="meta").state_dict().keys()
    classifier = weights[CLASSIFIER] if is_own else official_tensor(architecture, weights, CLASSIFIER)
    if classifier is not None and classifier.ndim and len(classifier):
        architecture = architecture.replace(num_classes=len(classifier))
    network = build_network(architecture)
    try:
        if is_own:
            network.load_state_dict(weights)
        else:
            load_official(network, weights)
            check_head_size(architecture, file, say)
    except SpaceError as error:
        raise SpaceError(f"{file}: {error}") from None
    except RuntimeError as error:
        raise SpaceError(f"{file}: got weights of other shapes than {name}'s ({one_line(error):.100})") from None
    return network.eval()


def check_head_size(architecture: Architecture, file: Path, say: Say) -> None:
    """Hold an architecture's head size against the one that an official file of UniFormer was trained with.

    The tensors fit any head size, and the wrong one costs UniFormer-S+ fifteen points of accuracy (its code's issue 16). The file's
    digest tells it, else its name; where neither does, `say` is told. SpaceError where they disagree.
    """
    own = {
        block.mixer.options["head_dim"] for stage in architecture.stages for block in stage.blocks if block.mixer.type == "global_mhra"
    }
    if not own:
        return
    told = _told_head_size(file)
    sizes = ", ".join(map(str, sorted(own)))
    if told is None:
        say(f"{file}: does not tell the size of its heads; {architecture.name} has {sizes} channels each. Others fit as well, and ruin it")
    elif own != {told}:
        expected = f"expected those of {architecture.name}, {sizes}, or an architecture's file with {told}"
        raise SpaceError(f"weights: got heads of {told} channels, {expected}")


def _told_head_size(file: Path) -> int | None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "md5").hexdigest()
    by_digest = {known.md5: known for known in HEAD_SIZES.values()}
    known = by_digest.get(digest) or HEAD_SIZES.get(file.stem)
    return None if known is None else known.head_dim
