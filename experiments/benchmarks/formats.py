"""Which networks each export format holds, as a run of the tests found.

    python -m pytest -m "" tests/nas/test_export_sweeps.py --junitxml sweeps.xml
    python -m experiments.benchmarks.formats sweeps.xml

The tests take hours on one core. A run that is stopped with Ctrl-C reports what it has found so far. Of several reports the last one that
tried a network decides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from nas.export.by_name import FORMATS, format_named
from nas.export.format import BATCHES, TOLERANCE
from nas.export.program import GraphFormat
from nas.runs.records.tables import markdown_table
from space.files import parent_names, write_atomically
from space.kinds import MIXERS

PAGE = Path(__file__).parents[1] / "results" / "formats.md"
INT8 = "onnx --int8"
COLUMNS = (*FORMATS, INT8)
RANDOM = "random architectures"
NOT_TRIED = "-"
LIBRARIES = ("torch", "timm", "onnx", "onnxruntime", "openvino")
Outcomes = Mapping[str, str]
"""By test, why it failed; empty where it passed."""
Found = dict[tuple[str, str], dict[str, str]]
"""The outcomes of the tests of a network in a format."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the reports and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="what pytest's --junitxml wrote")
    parser.add_argument("--output", type=Path, default=PAGE)
    args = parser.parse_args(argv)
    found: Found = {}
    for report in args.reports:
        for cell, test, outcome in outcomes_in(report):
            found.setdefault(cell, {})[test] = outcome
    write_atomically(args.output, page(found))


def outcomes_in(report: Path) -> Iterator[tuple[tuple[str, str], str, str]]:
    """The network and the format of every test that names them, the test, and why it failed."""
    for case in ElementTree.parse(report).iter("testcase"):
        about = {one.get("name"): one.get("value", "") for one in case.iter("property")}
        if case.find("skipped") is None and "format" in about:
            failures = [one.get("message", "") for one in case if one.tag in ("failure", "error")]
            yield (about["network"], about["format"]), case.get("name", ""), "; ".join(failures)


def page(found: Found) -> str:
    """The text of the page."""
    networks = (*map(of_mixer, MIXERS.names()), *parent_names(), RANDOM)
    rows = [[name, *(cell(found.get((name, column), {})) for column in COLUMNS)] for name in networks]
    return "\n".join([
        "# Export formats",
        "",
        '`python -m pytest -m "" tests/nas/test_export_sweeps.py --junitxml sweeps.xml`, then',
        f"`python -m experiments.benchmarks.formats sweeps.xml`: {', '.join(_versions())}.",
        "",
        f"*yes*: the network was written, loaded back and run at three image sizes, with {', '.join(map(str, BATCHES))} images each.",
        f"Its logits differed by at most {TOLERANCE:g} from PyTorch's, relative to the greatest one. In INT8, with linear layers and",
        "convolutions quantised, logits have the right shape at all sizes, and are within a tenth of PyTorch's greatest one for the image",
        "that ranges were measured on.",
        "",
        "A mixer's row is of a small network with that mixer alone. Published networks that were tried in several formats are whole; of",
        f"the others, which only have more of the same blocks, each of a stage's blocks is there once, at 64 px. {NOT_TRIED}: not tried.",
        "",
        *markdown_table(("", *COLUMNS), [["sides of images", *map(sides, COLUMNS)], *rows]),
        "",
        "*steps*: the trained side, and others that differ by multiples of the last map's stride.",
    ]) + "\n"  # fmt: skip


def of_mixer(name: str) -> str:
    """What the page calls a network with one mixer; a published network may have the same name."""
    return f"`{name}`"


def sides(column: str) -> str:
    """Which sides a format takes, as its class says."""
    return "steps" if column == INT8 or isinstance(format_named(column), GraphFormat) else "any"


def cell(outcomes: Outcomes) -> str:
    """What became of a network in a format."""
    if not outcomes:
        return NOT_TRIED
    failures = [why for why in outcomes.values() if why]
    if failures:
        return f"{len(outcomes) - len(failures)} of {len(outcomes)}: {failures[0].splitlines()[0][:200].replace('|', '/')}"
    return "yes" if len(outcomes) == 1 else f"{len(outcomes)} of {len(outcomes)}"


def _versions() -> Iterator[str]:
    for library in LIBRARIES:
        try:
            yield f"{library} {metadata.version(library)}"
        except metadata.PackageNotFoundError:
            continue


if __name__ == "__main__":
    main()
