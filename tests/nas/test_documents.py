"""Every command of the README and the pages under `docs` is run as it is written there, with options that make it small."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

from space.files import load_space
from tests.commands import COMMANDS, ROOT, exit_code
from tests.documents import commands, links, snippets
from tests.nas.kits import made_up_report, write_report
from tests.nas.small_search import BUDGET, SPACE
from tests.pictures import write_pictures
from tests.postgresql import free_port
from tests.scenes import write_ade20k

PROGRAM = ".venv/bin/"
TORCHRUN = f"{PROGRAM}torchrun --standalone "
PYTHON = f"{PROGRAM}python -m nas."
DASHBOARD = f"{PROGRAM}optuna-dashboard runs/mine/study.journal --artifact-dir runs/mine/artifacts"
TENSORBOARD = f"{PROGRAM}tensorboard --logdir runs"
SERVERS = (DASHBOARD, TENSORBOARD)
DOCUMENTED_STORAGE = "postgresql://me@host/studies"
IN_SPACE = f"--space tiny.yaml --budget {BUDGET} --floor 0.5"
TRIALS = f"{IN_SPACE} --trials 3 --halving-candidates 0"
SUPERNET = "--steps 2 --batch-size 8"
WARM_START = "--warm-start runs/mine/best.yaml=runs/mine/best.safetensors"
EPOCH = "--epochs 1 --batch-size 16"
SEARCH_MINE = f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --out runs/mine"
SEARCH_TUNED = f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --warm-start uniformer-s-plus davit-t --out runs/mine"
SEARCH_LOGGED = SEARCH_MINE.replace("runs/mine", "runs/logged")
RETRAIN_MINE = f"{PYTHON}retrain runs/mine/best.yaml --data path/to/train --test-data path/to/val"
TUNED = "runs/retrain-best/architecture.yaml=runs/retrain-best/weights.safetensors"
EXPORT = f"{PYTHON}export runs/retrain-best/architecture.yaml --weights runs/retrain-best/weights.safetensors"
COMPARE_MINE = f"{PYTHON}compare runs/mine --seeds 3 --test-data path/to/val"
SEARCH_AGAIN = f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --seed 1 --out runs/again"
SEARCH_ONE_FFN = f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --supernet runs/mine --only ffn=dw_ffn --out runs/one-ffn"
SEARCH_STREETS = f"{PYTHON}search --space tiny-seg --budget 250MFLOPs --data path/to/streets --out runs/streets"
RETRAIN_STREETS = f"{PYTHON}retrain runs/streets/best.yaml --data path/to/streets"
SCENES = "--trials 2 --steps 2 --batch-size 4 --workers 1 --halving-candidates 0 --floor 0.4 --image-size 64"
IMPORT_PHONE = f"{PYTHON}latency import latencies.json --name pixel8"
IMPORT_SMALL = "--space tiny.yaml --latency-tables tables"
SEARCH_PHONE = f"{PYTHON}search --budget \"4.5GFLOPs 90ms@pixel8\" --data path/to/train --out runs/phone"
SEARCH_SHARED = f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --out shared/mine --storage {DOCUMENTED_STORAGE}"


@dataclass(frozen=True)
class Small:
    """How a command becomes a small one.

    Args:
        options: to add; later options win over earlier ones.
        is_long: left to `make soak`.
        after: a command that has to be run before.
        package: that it needs; without it the test is skipped.
    """

    options: str = ""
    is_long: bool = False
    after: str = ""
    package: str = ""


SMALL = {
    "make search": Small(f"{TRIALS} {SUPERNET} --workers 1 --out runs/made", is_long=True),
    "make test": Small("tests/test_citation.py", is_long=True),
    f"{PYTHON}draw runs/hybrid-224-4.5GFLOPs-scattered-digits/best.yaml -o best.svg": Small(),
    f"{PYTHON}search --budget 4.5GFLOPs --dry-run": Small(TRIALS),
    SEARCH_MINE: Small(f"{TRIALS} {SUPERNET} --workers 1"),
    f"{SEARCH_TUNED} --dry-run": Small(f"{TRIALS} {WARM_START} --out runs/new"),
    SEARCH_TUNED: Small(f"{TRIALS} {SUPERNET} --workers 1 {WARM_START} --out runs/tuned-search"),
    f"{RETRAIN_MINE} --from supernet": Small(f"{EPOCH} --out runs/tuned-best"),
    RETRAIN_MINE: Small(EPOCH),
    f"{EXPORT} --format onnx": Small(is_long=True),
    f"{PYTHON}export runs/retrain-best --format onnx --int8 --output exported/int8": Small(is_long=True, after=RETRAIN_MINE),
    f"{PYTHON}search --budget \"4.5GFLOPs 25Mparams\" --data path/to/train --dry-run": Small(TRIALS),
    f"{PYTHON}export --study runs/mine --trial 2 --output arch.yaml": Small(),
    f"{PYTHON}search --budget \"4.5GFLOPs 90ms@cpu:1t:bs1\" --data path/to/train --out runs/fast": Small(
        f"{TRIALS} {SUPERNET} --workers 1 --latency-tables tables --budget '{BUDGET} 90ms@cpu:1t:bs1'", is_long=True
    ),
    f"{PYTHON}search --budget \"4.5GFLOPs 16MiB@act\" --data path/to/train --out runs/lean": Small(
        f"{TRIALS} {SUPERNET} --workers 1 --budget '{BUDGET} 16MiB@act'", is_long=True
    ),
    f"{PYTHON}latency kit --space hybrid-224 --out kit": Small("--space tiny.yaml --networks 4"),
    IMPORT_PHONE: Small(IMPORT_SMALL),
    SEARCH_PHONE: Small(f"{TRIALS} {SUPERNET} --workers 1 --latency-tables tables --budget '{BUDGET} 90ms@pixel8'"),
    f"{PYTHON}latency verify runs/phone --out kit-of-winners": Small("--out winners", after=SEARCH_PHONE),
    f"{PYTHON}latency import kit-of-winners/latencies.json": Small(),
    f"{PYTHON}search --budget 4.5GFLOPs --objectives accuracy params --data path/to/train --out runs/front": Small(
        f"{IN_SPACE} --trials 3 {SUPERNET} --workers 1", is_long=True
    ),
    f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --out runs/ray --backend ray --workers 2": Small(
        f"{TRIALS} {SUPERNET}", is_long=True
    ),
    SEARCH_SHARED: Small(f"{TRIALS} {SUPERNET} --workers 1", is_long=True),
    f"{PYTHON}join shared/mine": Small(is_long=True, after=SEARCH_SHARED),
    f"{PYTHON}train --budget 4.5GFLOPs --data path/to/train --paths fair --out runs/fair": Small(f"{IN_SPACE} {SUPERNET}"),
    f"{PYTHON}search --budgets 1.5,3,4.5GFLOPs --data path/to/train --out runs/budgets": Small(
        f"--space tiny.yaml --budgets 2.5,3MFLOPs --floor 0.5 --trials 2 --halving-candidates 0 {SUPERNET} --workers 1"
    ),
    f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --warm-start uniformer-s-plus davit-t --out runs/from-weights": Small(
        f"{TRIALS} {SUPERNET} --workers 1 {WARM_START}"
    ),
    f"{PYTHON}train --data path/to/train --warm-start {TUNED} --teacher --out runs/taught-supernet": Small(f"--space tiny.yaml {SUPERNET}"),
    f"{RETRAIN_MINE} --from supernet --out runs/tuned": Small(EPOCH),
    f"{PYTHON}retrain davit-t --data path/to/train --test-data path/to/val --from davit-t --out runs/davit-t": Small(
        "--from scratch --dry-run"
    ),
    f"{PYTHON}convert --parent davit-t --weights davit_tiny.safetensors --output davit-t": Small(is_long=True),
    f"{PYTHON}profile runs/mine/best.yaml davit-t": Small(),
    f"{PYTHON}profile --parents": Small(is_long=True),
    f"{PYTHON}draw runs/mine/best.yaml -o best.svg": Small(),
    f"{EXPORT} --format timm": Small(),
    f"{PYTHON}audit --run runs/mine --architectures 32 --seeds 2": Small(
        "--architectures 4 --seeds 1 --steps 2 --short 1 --long 0 --batch-size 8 --workers 1", is_long=True
    ),
    f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --out runs/alone --evaluator standalone --standalone-steps 100": Small(
        f"{TRIALS} --standalone-steps 1 --workers 1"
    ),
    f"{PYTHON}search --budget 4.5GFLOPs --data path/to/train --only mixer=ssa,window stage4.mixer=ssa --out runs/two-mixers": Small(
        f"{TRIALS} {SUPERNET} --workers 1 --only mixer=local_mhra,channel_group stage2.mixer=channel_group"
    ),
    SEARCH_AGAIN: Small(f"{TRIALS} {SUPERNET} --workers 1"),
    COMPARE_MINE: Small(f"{EPOCH} --seeds 1 --random 1 --workers 1", is_long=True),
    f"{COMPARE_MINE} --random 8 --even-random 8 --homogeneous --search-seeds 2 --fix-kinds": Small(
        f"{EPOCH} --seeds 1 --random 1 --even-random 1 --search-seeds 1 --workers 1 --out runs/compared", is_long=True
    ),
    f"{PYTHON}compare runs/mine runs/again --seeds 3 --test-data path/to/val": Small(
        f"{EPOCH} --seeds 1 --random 0 --workers 1 --out runs/compared-again", is_long=True, after=SEARCH_AGAIN
    ),
    SEARCH_ONE_FFN: Small(f"--budget {BUDGET} --floor 0.5 --trials 3 --halving-candidates 0 --workers 1"),
    f"{PYTHON}compare runs/one-ffn --seeds 3 --test-data path/to/val --even-random 8": Small(
        f"{EPOCH} --seeds 1 --random 0 --even-random 1 --workers 1", is_long=True, after=SEARCH_ONE_FFN
    ),
    f"{COMPARE_MINE} --from supernet --weights-folder weights": Small(
        f"{EPOCH} --seeds 1 --random 0 --workers 1 --allow-scratch --out runs/compared-tuned", is_long=True
    ),
    f"{PYTHON}compare runs/mine/best.yaml --data path/to/train --test-data path/to/val --seeds 3": Small(f"{EPOCH} --seeds 1 --workers 1"),
    f"{RETRAIN_MINE} --recipe deit --epochs 100 --dry-run": Small("--out runs/new"),
    f"{RETRAIN_MINE} --teacher local-dir:exported/davit --distillation soft --out runs/taught": Small(EPOCH),
    f"{TORCHRUN}--nproc-per-node 2 -m nas.retrain davit-t --recipe deit --data path/to/train --test-data path/to/val": Small(
        f"{EPOCH} --image-size 32", is_long=True
    ),
    f"{PYTHON}score runs/mine/best.yaml davit-t": Small("--data path/to/train --scores macs grad_norm --batch-size 2"),
    f"{PYTHON}report runs/mine --ablation": Small(),
    f"{PYTHON}search --space tiny-seg --budget 250MFLOPs --data scenes --image-size 96 --out runs/scenes": Small(SCENES),
    SEARCH_STREETS: Small(SCENES),
    RETRAIN_STREETS: Small("--epochs 1 --batch-size 4 --image-size 64 --out runs/retrain-streets", after=SEARCH_STREETS),
    f"{PYTHON}compare runs/streets --seeds 3": Small(
        "--epochs 1 --batch-size 8 --seeds 1 --random 1 --workers 1", is_long=True, after=SEARCH_STREETS
    ),
    f"{EXPORT} --format onnx --output exported/streets": Small(is_long=True),
    f"{PYTHON}retrain topformer-t-seg --data path/to/streets --recipe topformer-ade --dry-run": Small("--out runs/new"),
    f"{SEARCH_LOGGED} --log wandb": Small(f"{TRIALS} {SUPERNET} --workers 1", package="wandb"),
    f"{RETRAIN_MINE} --out runs/logged-training --log mlflow": Small(EPOCH, package="mlflow"),
    DASHBOARD: Small(is_long=True),
    TENSORBOARD: Small(is_long=True),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a reader who has searched and retrained."""
    place = tmp_path_factory.mktemp("reader")
    (place / "tiny.yaml").write_text(SPACE)
    write_pictures(place / "path" / "to" / "train", count=20)
    write_pictures(place / "path" / "to" / "val", count=5)
    write_ade20k(place / "path" / "to" / "streets", {"training": 20, "validation": 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_reports(place)
        for command in (SEARCH_MINE, RETRAIN_MINE, IMPORT_PHONE):
            run(command, SMALL[command].options)
        save_for_hf(timm.create_model("test_resnet", num_classes=3), "exported/davit", safe_serialization=True)
    shutil.copytree(place / "runs" / "mine", place / "runs" / "hybrid-224-4.5GFLOPs-scattered-digits")
    return place


def write_reports(place: Path) -> None:
    """What a device's owner copies back: latencies of the space's parts, and of a search's winners."""
    report = made_up_report(load_space(place / "tiny.yaml"))
    write_report(place / "latencies.json", report)
    network = report["networks"]["network-0"] | {"predicted_ms": 1.0, "limit_ms": 2.0}
    (place / "kit-of-winners").mkdir()
    verified = report | {"parts": {}, "networks": {"best": network}, "verifies": "pixel8"}
    write_report(place / "kit-of-winners" / "latencies.json", verified)


def run(command: str, options: str) -> None:
    """Run a command in the working directory; a command of `nas` inside this process."""
    words = [*shlex.split(command), *shlex.split(options)]
    if command.startswith(PYTHON):
        assert exit_code(words[2].removeprefix("nas."), words[3:]) == 0, command
    elif command.startswith("make "):
        # Tests that were themselves started with `make soak ARGS=...` hand that on.
        environment = {name: value for name, value in os.environ.items() if name not in {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}}
        dry = ["make", "--dry-run", *shlex.split(command)[1:]]
        made = subprocess.run(dry, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        (line,) = (line for line in made.stdout.splitlines() if re.search(r"-m (nas\.|pytest )", line))
        where = ROOT if "pytest" in line else Path.cwd()
        program = [sys.executable, *shlex.split(line)[1:], *shlex.split(options)]
        subprocess.run(program, cwd=where, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=280)
    elif command.startswith(TORCHRUN):
        started = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[2:]]
        subprocess.run(started, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=280)
    elif command.startswith(SERVERS):
        serve(words)
    else:
        raise AssertionError(f"{command!r} is of no kind that this test can run")


def serve(words: list[str]) -> None:
    """Start a server, which must be answering in a browser's language, and end it."""
    port = free_port()
    program = [str(Path(sys.executable).parent / Path(words[0]).name), *words[1:], "--port", str(port)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                assert server.poll() is None, f"{words[0]} ended"
                with contextlib.suppress(URLError), urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert b"<html" in page.read().lower()
                    return
                time.sleep(0.1)
            raise AssertionError(f"{words[0]} does not answer")
        finally:
            server.terminate()


@pytest.mark.parametrize("command", [
    pytest.param(command, marks=pytest.mark.soak if SMALL.get(command, Small()).is_long else ()) for command in commands()
], ids=lambda command: command.removeprefix(PROGRAM))  # fmt: skip
def test_a_documented_command_runs(command: str, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    assert command in SMALL, "new in the documents: say in SMALL what makes it small"
    monkeypatch.chdir(place)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    if command.startswith(f"{PYTHON}convert"):
        write_official()
    small, wanted = SMALL[command], [SMALL[command].after, command]
    if any(DOCUMENTED_STORAGE in one for one in wanted):
        url = request.getfixturevalue("postgresql")()
        monkeypatch.setenv("PGPASSWORD", urlsplit(url).password or "")
        wanted = [one.replace(DOCUMENTED_STORAGE, url) for one in wanted]
        shutil.rmtree("shared", ignore_errors=True)
    if small.package:
        pytest.importorskip(small.package, reason=f"{small.package} is not installed")
    if small.after:
        run(wanted[0], SMALL[small.after].options)
    run(wanted[1], small.options)


def test_no_command_is_prepared_that_is_not_documented() -> None:
    assert SMALL.keys() == set(commands())


def test_every_command_is_documented() -> None:
    assert {line.removeprefix(PYTHON).split()[0] for line in commands() if line.startswith(PYTHON)} == set(COMMANDS)


def test_every_section_of_the_report_is_explained() -> None:
    headings = re.findall(r"<h2>(.+?)</h2>", (ROOT / "nas" / "report" / "page.html.jinja").read_text())
    printed = re.findall(r"^\| (\w.+?) \|", (ROOT / "docs" / "report.md").read_text(), re.MULTILINE)
    for written, meant in (("’", "'"), ("{{ winner.label }}", "winner"), ("{{ found.metric }}", "accuracy")):
        headings = [heading.replace(written, meant) for heading in headings]
    assert printed[1:] == headings


def write_official() -> None:
    """Weights as timm publishes them."""
    save_file(timm.create_model("davit_tiny").state_dict(), "davit_tiny.safetensors")


def test_a_found_network_is_used_as_documented(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    code = snippets("networks.md")[0]
    names: dict[str, object] = {}
    exec(compile(code, "networks.md", "exec"), names)
    network, backbone, fast = (names[name] for name in ("network", "backbone", "fast"))
    assert isinstance(network, torch.nn.Module)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert network(images).shape == (2, 10)
        torch.testing.assert_close(fast(images), network(images), rtol=1e-4, atol=1e-4)
        assert len(backbone(torch.randn(1, 3, 64, 64))) == 4


@pytest.mark.parametrize(("document", "target"), list(links()), ids=lambda value: value if isinstance(value, str) else value.name)
def test_what_is_linked_is_there(document: Path, target: str) -> None:
    assert (document.parent / target).exists()
