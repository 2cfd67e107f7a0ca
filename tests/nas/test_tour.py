"""From a folder of photographs to a class name in foreign code, and the quick start, which writes its own page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs import quick_start
from nas.export.__main__ import main as export
from nas.retrain.__main__ import main as retrain
from nas.search.__main__ import main as search

SPACE = """
schema: search-space/1
name: tour
image_size: 32
stem: {type: conv_stem, stride: 4}
stages:
  - widths: [16, 32]
    depths: [1, 2]
    mixers: &mixers [{type: ssa, head_dim: 8, sr_ratio: 2}]
    ffns: &ffns [{type: dw_ffn, ratio: [1, 2]}]
  - widths: [32, 64]
    depths: [1]
    downsample: conv_downsample
    mixers: *mixers
    ffns: *ffns
"""
RECIPE = "schema: recipe/1\nepochs: 12\nbatch_size: 12\nlr: 4.0e-3\nmin_area: 0.8\nwarmup_epochs: 1.0\nvalidation: 0.1\n"
BRIGHT, DARK = (210, 220, 250), (20, 30, 60)
SCENES = {"sea under the sky": (BRIGHT, DARK), "snow under the night": (DARK, BRIGHT), "green field": ((60, 140, 40), (60, 140, 40))}
"""Colours of the upper and the lower half, by class. On its side, a photograph shows neither of the first two."""
BACK = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How a camera's sensor sees an upright scene, by the orientation that it then writes into EXIF."""
ORIENTATION = 0x0112


def take_photograph(file: Path, scene: str, rng: np.random.Generator) -> None:
    """Draw a scene and write it as a camera does that was held in any way."""
    upper, lower = SCENES[scene]
    pixels = np.empty((108, 96, 3))
    horizon = rng.integers(40, 68)
    pixels[:horizon], pixels[horizon:] = upper, lower
    pixels += rng.normal(0, 12, pixels.shape) + rng.normal(0, 10, 3)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    orientation = int(rng.choice(list(BACK)))
    if (back := BACK[orientation]) is not None:
        picture = picture.transpose(back)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, exif=exif)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training part of 40 photographs a class and a validation part."""
    folder = tmp_path_factory.mktemp("tour") / "my photos"
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 8)):
        for scene in SCENES:
            for number in range(count):
                suffix = "webp" if number == 1 else "jpg"
                take_photograph(folder / part / scene / f"IMG {number:04}.{suffix}", scene, rng)
    return folder


def test_a_stranger_reads_the_class_names_of_photographs(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space, recipe, data = tmp_path / "tour.yaml", tmp_path / "recipe.yaml", str(photographs)
    run, trained, exported = (str(tmp_path / name) for name in ("run", "trained", "exported"))
    space.write_text(SPACE)
    recipe.write_text(RECIPE)
    budget = ["--budget", "2MFLOPs", "--floor", "0.3", "--trials", "3", "--steps", "4", "--batch-size", "12", "--halving-candidates", "0"]
    assert search(["--space", str(space), "--data", data, *budget, "--workers", "1", "--keep", "1", "--out", run]) == 0
    assert retrain([f"{run}/best.yaml", "--data", data, "--recipe", str(recipe), "--out", trained]) == 0
    weights = ["--weights", f"{trained}/weights.safetensors"]
    assert export([f"{trained}/architecture.yaml", *weights, "--format", "onnx", "--output", exported]) == 0
    assert "1x3x96x96 images" in capsys.readouterr().out

    card = (tmp_path / "exported" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    blocked = "import sys\nfor package in ('space', 'proxies', 'supernet', 'nas', 'timm', 'torch'):\n    sys.modules[package] = None\n"
    rng = np.random.default_rng(1)
    for scene in SCENES:
        take_photograph(tmp_path / "exported" / "image.jpg", scene, rng)
        run_alone = subprocess.run(
            [sys.executable, "-I", "-c", blocked + code], cwd=exported, capture_output=True, text=True, timeout=120
        )  # fmt: skip
        assert run_alone.stderr == ""
        assert run_alone.stdout.strip() == scene


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_quick_start_leads_to_an_onnx_file_and_writes_its_page(tmp_path: Path) -> None:
    (tmp_path / "tour.yaml").write_text(SPACE)
    search = f"--space {tmp_path}/tour.yaml --budget 2MFLOPs --floor 0.3 --trials 3 --steps 2 --batch-size 8 --data digits"
    arguments = ["--folder", str(tmp_path / "tour"), "--page", str(tmp_path / "page.md")]
    arguments += ["--search", f"{search} --halving-steps 2 --workers 1 --out {quick_start.RUN}", "--retrain", "--data digits --epochs 1"]
    quick_start.main(arguments)
    assert list((tmp_path / "tour").rglob("*.onnx"))
    page = (tmp_path / "page.md").read_text()
    assert re.findall(r"^\$ (.+)", page, re.MULTILINE)[1:] == [step.command for step in quick_start.STEPS]
    assert str(tmp_path) not in page.replace(search, "")
    # What was done is not done again.
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "tour").rglob("*")}
    quick_start.main(arguments)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "tour").rglob("*")} == before
