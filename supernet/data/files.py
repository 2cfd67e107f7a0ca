"""The files below a folder or in tars, listed alike, and images read from where they lie.

A tar is never unpacked: an image is read from its place in it. Nothing hidden is listed. Links are followed, and no file counts twice.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from PIL import UnidentifiedImageError

from supernet.data.image_set import spread
from supernet.data.pixels import opened, suffixes
from supernet.data.readers import EncodedImages
from supernet.data.unreadable import DataError

HIDDEN = frozenset(
    ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db", "desktop.ini")
)
"""Names of what operating systems leave in folders, besides those that begin with a dot."""
MAX_OPENED = 1000
"""Files without a suffix that are opened to see whether they are images."""
NOTHING = "a link to nothing"
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"7z\xbc\xaf")
"""How files begin that gzip, bzip2, xz, zstd, zip and 7z write."""
BLOCK = 512


class File(NamedTuple):
    """A file below the root of a listing.

    Args:
        path: names below the root, with `/` between them.
        file: on disk: the file itself, or the tar that holds it.
        member: what a tar calls it, and where in the tar its bytes lie: offset and number.
        problem: why it cannot be opened, if so.
        real: what tells the file from others where it was reached by a link: the file that the link leads to.
    """

    path: str
    file: str
    member: tuple[str, int, int] | None = None
    problem: str = ""
    real: str = ""

    @property
    def suffix(self) -> str:
        """In lower case, with its dot; empty where what follows the last dot is a number or long."""
        suffix = os.path.splitext(self.path)[1].lower()
        return suffix if len(suffix) <= 12 and suffix[1:].isalnum() and not suffix[1:].isdigit() else ""

    @property
    def where(self) -> str:
        return self.file if self.member is None else f"{self.file}/{self.member[0]}"

    def open(self) -> BinaryIO:
        if self.problem:
            raise ValueError(self.problem)
        if self.member is None:
            return Path(self.file).open("rb")
        _, start, size = self.member
        with open(self.file, "rb") as tar:
            tar.seek(start)
            return io.BytesIO(tar.read(size))


@dataclass
class Listing:
    """What lies below a root.

    Args:
        images: files of a suffix that Pillow knows, or without one, but for those of the latter that it was seen not to open.
        folders: paths of all folders, as of `File`.
        hidden: paths of what is hidden, without what lies below.
        links: paths of links that were passed over.
    """

    images: list[File] = field(default_factory=list)
    others: list[File] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)

    def add(self, files: Iterable[File]) -> None:
        unnamed: list[File] = []
        for file in files:
            (self.images if file.suffix in suffixes() else self.others if file.suffix else unnamed).append(file)
        to_open = set(spread(len(unnamed), MAX_OPENED).tolist())
        for row, file in enumerate(unnamed):
            (self.images if row not in to_open or _is_image(file) else self.others).append(file)

    def below(self, prefix: str, without: Collection[str] = ()) -> Listing:
        """The part below a folder, whose path ends with `/`, or below the root, `""`, without some of the folders there.

        A file to which several paths lead is listed once.
        """

        def is_below(path: str) -> bool:
            return path.startswith(prefix) and path[len(prefix) :].partition("/")[0] not in without

        def paths_below(paths: set[str]) -> set[str]:
            return {path[len(prefix) :] for path in paths if is_below(path)}

        def files_below(files: list[File]) -> list[File]:
            once: dict[str, File] = {}
            for file in (file._replace(path=file.path[len(prefix) :]) for file in files if is_below(file.path)):
                if once.setdefault(file.real or file.where, file) is not file:
                    links.add(file.path)
            return list(once.values())

        folders, hidden, links = map(paths_below, (self.folders, self.hidden, self.links))
        return Listing(files_below(self.images), files_below(self.others), folders, hidden, links)


class Files(EncodedImages):
    """Reads the images of a list of files."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files
        self.broken = [row for row, file in enumerate(files) if file.problem]

    def open(self, row: int) -> BinaryIO:
        return self._files[row].open()

    def where(self, row: int) -> str:
        return self._files[row].where


def list_folder(root: Path) -> Listing:
    """All files below a folder, also behind links; OSError where a folder cannot be read."""
    found = Listing()
    files: list[File] = []
    linked: list[File] = []
    seen: set[tuple[str, str]] = set()
    folders, linked_folders = [("", str(root), os.path.realpath(root))], list[tuple[str, str, str]]()
    while folders or linked_folders:
        if not folders:
            # Folders before links to them, and those in a fixed order.
            linked_folders.sort()
            folders.append(linked_folders.pop(0))
        above, folder, real = folders.pop()
        # Once in each split: links may lead in circles, and splits to a common store.
        if (visit := (above.partition("/")[0], real)) in seen:
            found.links.add(above.rstrip("/"))
            continue
        seen.add(visit)
        with os.scandir(folder) as children:
            for child in children:
                path = above + child.name
                if _is_hidden(child.name):
                    found.hidden.add(path)
                elif child.is_dir():
                    found.folders.add(path)
                    if not child.is_symlink():
                        folders.append((path + "/", child.path, os.path.join(real, child.name)))
                    elif f"{real}/".startswith(f"{(target := os.path.realpath(child.path))}/"):
                        found.links.add(path)
                    else:
                        linked_folders.append((path + "/", child.path, target))
                elif child.is_symlink():
                    linked.append(File(path, child.path, problem="" if child.is_file() else NOTHING, real=os.path.realpath(child.path)))
                elif child.is_file():
                    files.append(File(path, child.path, real="" if real == folder else os.path.join(real, child.name)))
    found.add([*files, *_followed(found, linked)])
    return found


def list_tars(tars: Sequence[tuple[str, str]]) -> Listing:
    """All files in uncompressed tars, as if they were unpacked into a folder each.

    Args:
        tars: the path of each as of `Listing`, or "" for an only one, and its file on disk.

    Raises:
        DataError: a tar is compressed, damaged or cut off.
    """
    found = Listing()
    for path, file in tars:
        try:
            with tarfile.open(file, "r:") as tar:
                _list_members(found, tar, file, 0, path)
        except tarfile.TarError as error:
            advice = "it is compressed: unpack it" if is_packed(Path(file)) else "copy or pack it again"
            raise DataError(f"{file}: not a whole, uncompressed tar ({error}); {advice}") from None
    return found


def is_packed(path: Path) -> bool:
    """Whether a file is compressed, whatever it is called."""
    with path.open("rb") as file:
        return file.read(8).startswith(PACKED)


def _list_members(found: Listing, tar: tarfile.TarFile, file: str, start: int, above: str) -> None:
    """Add the members of a tar that begins at byte `start` of a file on disk."""
    stored: dict[str, File] = {}
    links: list[tuple[str, str, bool]] = []
    tars: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        path = _normal(f"{above}/{member.name}")
        names = path.split("/")
        hidden = next((depth for depth, name in enumerate(names, 1) if _is_hidden(name)), None)
        if member.isreg():
            # Of members of one name the last one counts, as in unpacking.
            stored[path] = File(path, file, (path, start + member.offset_data, member.size))
        if hidden is not None:
            found.hidden.add("/".join(names[:hidden]))
        elif member.isreg() and path.endswith(".tar"):
            tars[path] = member
        elif member.isdir():
            found.folders.add(path)
        elif member.islnk():
            links.append((path, _normal(f"{above}/{member.linkname}"), True))
        elif member.issym():
            links.append((path, os.path.normpath(os.path.join(os.path.dirname(path), member.linkname)), False))
    # tarfile takes a damaged header, and the end of a file, for the end of the tar, which is a block of zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"damaged or cut off at byte {start + tar.offset}")
    files = {path: one for path, one in stored.items() if not any(map(_is_hidden, path.split("/")))}
    folders = {os.path.dirname(path) for path in files}
    found.folders.update(str(folder) for path in folders for folder in (PurePosixPath(path), *PurePosixPath(path).parents) if folder.name)
    linked: list[File] = []
    for path, target, is_hard in sorted(links):
        if target in stored:
            linked.append(stored[target]._replace(path=path, real=f"{file}/{path if is_hard else target}"))
        elif target in found.folders and not f"{path}/".startswith(f"{target}/"):
            found.folders.add(path)
            below = [one for name, one in files.items() if name.startswith(f"{target}/")]
            linked += [one._replace(path=path + one.path.removeprefix(target), real=one.where) for one in below]
        else:
            linked.append(File(path, file, (path, 0, 0), NOTHING))
    if above or not tars or any(one.suffix in suffixes() for one in files.values()):
        found.add([*files.values(), *_followed(found, linked)])
        return
    for path, member in tars.items():
        with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as inner:
            _list_members(found, inner, file, start + member.offset_data, path.removesuffix(".tar"))


def _followed(found: Listing, links: Iterable[File]) -> Iterator[File]:
    """The files that links lead to. One to nothing is a damaged image if it is called like one; without a suffix it may be a folder."""
    for link in sorted(links):
        if not link.problem or link.suffix in suffixes():
            yield link
        else:
            found.links.add(link.path)
            if not link.suffix:
                found.folders.add(link.path)


def _is_image(file: File) -> bool:
    try:
        with file.open() as content, opened(content):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # A damaged one: Pillow knew its kind.
        return True


def _normal(path: str) -> str:
    return "/".join(name for name in path.split("/") if name not in ("", ".", ".."))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN
