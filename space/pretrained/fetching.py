"""Finding a published network's weights by its name: a file, a folder of weights, or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from space.errors import SpaceError, one_line
from space.pretrained.sources import SOURCES, TIMM_FILE, WeightsSource

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
TIMEOUT = 10.0
"""Seconds until the hub has to answer."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class NamedWeights:
    """A published network or an architecture's file, and perhaps the file of its weights.

    Args:
        name: of the network, or its YAML file.
        file: None to find the file by the name.
    """

    name: str
    file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> NamedWeights:
        """Read `NAME` or `NAME=FILE`; ValueError for anything else."""
        name, sign, file = text.partition("=")
        if not name or (sign and not file):
            raise ValueError(f"got {text!r:.80}, expected NAME or NAME=FILE, such as davit-t or davit-t=weights.safetensors")
        return cls(name, Path(file).resolve() if file else None)

    def __str__(self) -> str:
        return self.name if self.file is None else f"{self.name}={self.file}"


def find_weights(wanted: NamedWeights, folder: Path | None = None, say: Say = lambda line: None, fetches: bool = True) -> Path | None:
    """The file of a network's weights: the one given, one in the folder, one in the hub's cache, or fetched into that.

    In the folder a file may have the authors' name or the network's, such as `davit-t.safetensors`.

    Args:
        say: is told the size, the licence and the source before anything is fetched.
        fetches: whether to fetch; otherwise None is returned where that would be needed.

    Raises:
        SpaceError: there is no such file; the line says what to fetch and where to put it.
    """
    if wanted.file is not None:
        return wanted.file
    name = wanted.name
    if name not in SOURCES:
        raise SpaceError(f"{name}: got no file of weights, expected {name}=FILE, or one of {', '.join(SOURCES)}")
    source = SOURCES[name]
    if folder is not None:
        if not folder.is_dir():
            raise SpaceError(f"weights folder: got {folder}, expected a folder")
        # All networks of timm's have a `model.safetensors`.
        names = [f"{name}{suffix}" for suffix in SUFFIXES] + [source.file] * (source.file != TIMM_FILE)
        for file in map(folder.joinpath, names):
            if file.is_file():
                say(f"{name}: {file}")
                return file
    if not source.repository:
        raise SpaceError(f"{name}: its authors offer the weights on no hub; {_advice(name, source)}")
    return _from_hub(name, source, say, fetches)


def _from_hub(name: str, source: WeightsSource, say: Say, fetches: bool) -> Path | None:
    # Imported here: it takes a second, and most commands fetch nothing.
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.utils import disable_progress_bars

    origin = f"from {source.address}, licence {source.licence or 'not stated'}"
    cached = try_to_load_from_cache(source.repository, source.file)
    if isinstance(cached, str):
        say(f"{name}: {_megabytes(Path(cached).stat().st_size)} {origin}, in the cache already")
        return Path(cached)
    try:
        # Asked first: downloading tries again for half a minute where there is no network.
        size = get_hf_file_metadata(hf_hub_url(source.repository, source.file), timeout=TIMEOUT).size
        say(f"{name}: {_megabytes(size)} {origin}, {'being fetched' if fetches else 'would be fetched'}")
        if not fetches:
            return None
        disable_progress_bars()
        return Path(hf_hub_download(source.repository, source.file))
    except Exception as error:  # The hub's own, those of its HTTP library and of the file system: it documents no common class.
        reason = one_line(error) or type(error).__name__
        raise SpaceError(f"{name}: cannot be fetched from {source.address} ({reason:.100}); {_advice(name, source)}") from None


def _advice(name: str, source: WeightsSource) -> str:
    suffix = Path(source.file).suffix
    return f"fetch {source.file} from {source.address} and give {name}=FILE, or put it as {name}{suffix} into a folder for --weights-folder"


def _megabytes(size: int | None) -> str:
    return "unknown size" if size is None else f"{size / 1e6:.0f} MB"
