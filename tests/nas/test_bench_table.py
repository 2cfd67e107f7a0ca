"""A bench's table is read from a folder that others may have made: no file outside it, and a line for what is wrong."""

from __future__ import annotations

import csv
import errno
import os
import random
from pathlib import Path

import pytest

from nas.audit.table import load_bench
from space.errors import UserError
from space.files import dump_architecture, parse_space
from tests.nas.small_search import SPACE

ARCHITECTURE = parse_space(SPACE, "tiny").sample(random.Random(0)).replace(name="000")
ROW = {"fingerprint": ARCHITECTURE.fingerprint, "yaml": "architectures/000.yaml", "part": "band", "macs": "1000", "score: naswot": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bench" / "architectures").mkdir(parents=True)
    for place in ("bench/architectures", "bench", "."):
        (tmp_path / place / "000.yaml").write_text(dump_architecture(ARCHITECTURE))
    return tmp_path / "bench"


def write(folder: Path, row: dict[str, str]) -> None:
    with (folder / "bench.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)


def test_a_row_is_read(folder: Path) -> None:
    write(folder, ROW)
    (row,) = load_bench(folder)
    assert (row.architecture, row.part, row.numbers) == (ARCHITECTURE, "band", {"macs": 1000.0})


@pytest.mark.parametrize("path", ["../000.yaml", "../../x", "000.yaml", "/etc/passwd", "architectures/../../000.yaml", "architectures", "",
                                  "architectures/000.yaml\n", "architectures/\0.yaml", "x" * 5000, "davit-t"])  # fmt: skip
def test_architectures_lie_in_their_folder(folder: Path, path: str) -> None:
    write(folder, ROW | {"yaml": path})
    with pytest.raises(UserError, match=r"row 1: yaml: got .*, expected a file in architectures/$") as caught:
        load_bench(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("content", "message"), [
    (b"\xff\xfe", "not a table"),
    (b"fingerprint,yaml,part\n\"", "not a table"),
    (b"yaml,part\n1,2\n", "row 1: got 2 columns, expected fingerprint, part, yaml and one for every heading"),
    (b"fingerprint,yaml,part\n1,2\n", "row 1: got 3 columns"),
    (b"fingerprint,yaml,part\n1,2,3,4\n", "row 1: got 4 columns"),
    (b"fingerprint,yaml,part\n" + b"x" * 200_000, "not a table"),
])
def test_what_is_no_table_says_so(folder: Path, content: bytes, message: str) -> None:
    (folder / "bench.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_bench(folder)
    assert "\n" not in str(caught.value)


def test_no_number_and_another_architecture_are_refused(folder: Path) -> None:
    write(folder, ROW | {"macs": "many"})
    with pytest.raises(UserError, match="row 1: 'macs': got 'many', expected a number"):
        load_bench(folder)
    write(folder, ROW | {"fingerprint": "0" * 5000})
    with pytest.raises(UserError, match=r"000\.yaml: got .*, expected the architecture '0{50}"):
        load_bench(folder)
    with pytest.raises(UserError, match=f"cannot be read: {os.strerror(errno.ENOENT)}"):
        load_bench(folder / "none")
