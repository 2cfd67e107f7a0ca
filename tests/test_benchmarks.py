"""Every benchmark runs, and what one compares is comparable."""

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import commands
from experiments.benchmarks.parents import SEGMENTATION, plain_of
from experiments.benchmarks.synthetic import drawn, only
from proxies.macs import cost_of
from space import build_network, load_space, parent_names
from tests.commands import ROOT, exit_code
from tests.nas.small_search import BUDGET, SPACE, command
from tests.space.examples import randomised, shortened

PLAIN = [name for name in parent_names("classification") if not name.startswith("davit") and not name.endswith(("-b", "-l"))]


@pytest.mark.parametrize("name", [*PLAIN, *SEGMENTATION])
def test_the_plain_formulation_has_the_same_logits_and_parameters(name: str) -> None:
    network = randomised(build_network(shortened(name))).double().eval()
    plain = plain_of(network).double().eval()
    images = torch.randn(1, 3, 64, 90).double()
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(plain(images), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    assert sum(parameter.numel() for parameter in plain.parameters()) == sum(parameter.numel() for parameter in network.parameters())


SCRIPTS = sorted(file.stem for file in (ROOT / "experiments" / "benchmarks").glob("*.py") if "__main__" in file.read_text())
PAGE, RUN, SWEEPS = "page.md", "run", "sweeps.xml"
ONE_EXPORT = "tests/nas/test_export_sweeps.py::test_every_format_holds_every_mixer_alone[module-window]"
FEW: dict[str, str] = {
    "backends": f"--trials 8 --evaluations 10 --seconds 0.01 --simulated 4 --backends local --storages journal --output {PAGE}",
    "band": f"--space tiny.yaml --budget {BUDGET} --draws 10 --lookups 10 --output {PAGE}",
    "commands": f"--only help --runs 1 --output {PAGE}",
    "compilation": f"--cases tiny.yaml:{BUDGET} --parts 2 --batch-size 2 --rounds 1 --backend aot_eager --threads 1 --output {PAGE}",
    "default_search": f"--seeds 0 --budget {BUDGET} --folder default --output {PAGE} -- --space tiny.yaml --floor 0.5 --trials 4 --steps 2"
    " --data digits --batch-size 8 --halving-steps 2 --workers 1",
    "evaluation": f"--run {RUN} --architectures 3 --timed 1 --rounds 1 --replays 2 --keep 1 --output {PAGE}",
    "formats": f"{SWEEPS} --output {PAGE}",
    "gpu": f"--cases tiny.yaml:{BUDGET} --batch-size 2 --image-size 32 --architectures 1 --rounds 1 --steps 2 --images 60 --side 32"
    f" --trials 1 --compile off --threads 1 --device cpu --output {PAGE}",
    "imagenet": "--batch-size 1",
    "int8": f"--data digits --networks {RUN}/best.yaml --folder trainings --output {PAGE}",
    "judges": f"{RUN} --steps 1 --output {PAGE}",
    "kept_memory": f"--cases tiny.yaml:{BUDGET} --rounds 1 --architectures 1 --repeats 1 --output {PAGE}",
    "kit": f"--cases tiny.yaml:{BUDGET} --num 2 --trials 4 --minutes 0 --networks 4 --folder kits --output {PAGE}",
    "latency": f"--space tiny.yaml --budget {BUDGET} --num 4 --table-seconds 0 --seconds 0 --output {PAGE}",
    "long_trainings": f"{RUN} {RUN} --epochs 1 --output {PAGE}",
    "parents": f"--parents topformer-t topformer-t-seg --batches 1 --image-size 128 --rounds 1 --seconds 0 --threads 1 --output {PAGE}",
    "synthetic": f"--architectures 2 --networks 1 --steps 1 --batch-size 8 --tasks texture --workers 1 --folder trainings --output {PAGE}",
    "sampler_objectives": "--instances 1 --slow-instances 0 --samplers random --max-trials 5",
    "sampler_sources": "--instances 1 --source-trials 4 --trials 4",
    "samplers": "--instances 1 --cell-instances 1 --staged-instances 1 --sizes-instances 1 "
    "--max-trials 5 --samplers random --finished 50 60 --processes 1"
    f" --output {PAGE}",
    "supernet": f"--cases tiny.yaml:4 --architectures 2 --rounds 1 --output {PAGE}",
}
"""Options with which each script ends in seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place to work in, with a small space, what a search in it and a comparison left, and the report of a test of exports."""
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "tiny.yaml").write_text(SPACE)
    assert exit_code("search", command(folder, "--trials", "2", "--data", "digits", "--out", str(folder / RUN))) == 0
    few = ["--random", "2", "--seeds", "1", "--epochs", "1", "--workers", "1"]
    assert exit_code("compare", [str(folder / RUN), "--from", "supernet", "--allow-scratch", *few]) == 0
    tests = [sys.executable, "-m", "pytest", ONE_EXPORT, "--junitxml", str(folder / SWEEPS)]
    subprocess.run(tests, cwd=ROOT, check=True, capture_output=True, timeout=250)
    return folder


def benchmark(folder: Path, script: str, options: Sequence[str]) -> str:
    """Run a script as a person does; the tables that it wrote, or printed where it writes none."""
    page = folder / PAGE
    page.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", f"experiments.benchmarks.{script}", *options]
    ended = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert ended.returncode == 0, ended.stderr
    return page.read_text() if page.name in options else ended.stdout


def tables(text: str) -> list[list[str]]:
    """The rows of each Markdown table of a text."""
    groups = itertools.groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    return [list(rows) for is_table, rows in groups if is_table]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_runs_and_fills_its_tables(script: str, folder: Path) -> None:
    assert script in FEW, "a new benchmark needs options here that let it end in seconds"
    found = tables(benchmark(folder, script, FEW[script].split()))
    assert found
    for heading, rule, *rows in found:
        assert rows
        assert {row.count("|") for row in (rule, *rows)} == {heading.count("|")}


def test_the_page_of_formats_tells_what_the_tests_found(folder: Path) -> None:
    ((heading, _, *rows),) = tables(benchmark(folder, "formats", FEW["formats"].split()))
    cells = {row.split("|")[1].strip(): row for row in rows}
    assert dict(zip(heading.split("|"), cells["`window`"].split("|"), strict=True))[" module "] == " yes "
    assert "yes" not in cells["`ssa`"]


@pytest.mark.soak
def test_every_command_that_is_timed_runs(folder: Path) -> None:
    names = [case.name for case in commands.CASES if case.name != "the default search"]
    only = [word for name in names for word in ("--only", name)]
    ((_, _, *rows),) = tables(benchmark(folder, "commands", [*only, "--runs", "1", "--run", RUN, "--output", PAGE]))
    assert [row.split("|")[1].strip() for row in rows] == names


@pytest.mark.parametrize("mixer", ["local_mhra", "ssa", "channel_group"])
def test_networks_of_one_mixer_mix_tokens_by_nothing_else(mixer: str) -> None:
    found = drawn(only(load_space("hybrid-32"), mixer), "20MFLOPs", 3)
    assert len({architecture.fingerprint for architecture in found}) == 3
    for architecture in found:
        assert 18e6 <= cost_of(architecture).macs <= 20e6
        blocks = [block for stage in architecture.stages for block in stage.blocks]
        assert {(block.mixer.type, block.position.type, block.ffn.type) for block in blocks} == {(mixer, "none", "mlp")}
