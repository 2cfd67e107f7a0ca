"""The INT8 version of an ONNX graph: which kinds of nodes are quantised is decided by measurement.

One kind after another is tried, those that hold weights first. A kind stays in floating point where quantising it costs log-likelihood
on the calibration images. A kind without weights must also make the graph faster.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from nas.export.format import BATCHES, ExportedNetwork, ExportError, image_sizes
from nas.export.held_out import HeldOut, one_image
from nas.export.onnx_graph import OnnxGraph, run_of_file
from proxies.latency import Measured
from proxies.latency.backends import OnnxRuntime
from proxies.latency.fingerprint import device_name
from proxies.latency.graphs import measure_graphs, time_ratios
from proxies.latency.int8 import WITH_WEIGHTS, CalibratedGraph
from proxies.target import Target
from space.errors import one_line
from supernet.evaluation import judge
from supernet.intervals import of_score
from supernet.score import Score

FILE = "network-int8.onnx"
TARGET = Target(backend="ort")
"""How both graphs are timed: one thread, one image."""
MOST_LOST = 0.01
"""Nats of mean log-likelihood that quantising a kind of nodes may cost."""
LEAST_GAIN = 0.05
"""Share of the graph's time that quantising a kind without weights must save."""
SURELY = 0.9
"""Share of the rounds in which it must: on a busy machine some rounds say so of anything."""
TRIAL_ROUNDS = 12
SECONDS_A_BLOCK = 4.0


@dataclass(frozen=True)
class Int8Export:
    """Both graphs, measured. Of two values the first is the floating-point graph's.

    Args:
        int8: kinds of nodes that are quantised.
        in_float: those that could be, and why they are not.
        scores: on the search images.
        latencies: measured in the same rounds.
        num_bytes: of the files.
        num_calibration: images that ranges were measured on.
        source: of the images.
    """

    int8: tuple[str, ...]
    in_float: Mapping[str, str]
    scores: tuple[Score, Score]
    latencies: tuple[Measured, Measured]
    num_bytes: tuple[int, int]
    num_calibration: int
    source: str

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """A table: what, of the floating-point graph, of the INT8 graph."""
        first = self.scores[0]
        intervals = [of_score(score) for score in self.scores]
        figures = [f"{one.share:.2%} (95 %: {one.low:.2%} to {one.high:.2%})" for one in intervals]
        likelihoods = [f"{score.log_likelihood:.4f} ± {score.log_likelihood_stderr:.4f}" for score in self.scores]
        times = [f"{one.nanoseconds / 1e6:.3g} ms (repeats {one.spread:.0%} apart)" for one in self.latencies]
        sizes = [f"{size / 1e6:.2f} MB" for size in self.num_bytes]
        return [
            (f"{first.metric} on {first.num_images} search images", figures[0], figures[1]),
            ("log-likelihood on them", likelihoods[0], likelihoods[1]),
            (f"latency on {TARGET}", times[0], times[1]),
            ("size", sizes[0], sizes[1]),
        ]

    @property
    def lines(self) -> Iterator[str]:
        """What is quantised, and why the rest is not."""
        yield f"INT8: {', '.join(self.int8)}; ranges of {self.num_calibration} calibration images of {self.source}"
        yield from (f"in floating point: {kind}, {why}" for kind, why in self.in_float.items())

    @property
    def section(self) -> str:
        """Of the model card."""
        from importlib.metadata import version

        table = ["| | `network.onnx` | `" + FILE + "` |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in self.rows)]
        measured = (
            f"Measured with onnxruntime {version('onnxruntime')} on {device_name(TARGET)}, both in the same rounds. The search images took "
            "no part in the calibration; they are no test images. Nodes that are not named have no INT8 version. Weights have eight bits: "
            "on x86 processors without VNNI, sums of products may saturate; check the accuracy there."
        )
        return "\n".join(["## INT8", "", *table, "", *(f"- {line}" for line in self.lines), "", measured])


def write_int8(exported: ExportedNetwork, folder: Path, graph: Path, held_out: HeldOut, say: Callable[[str], None]) -> Int8Export:
    """Write the INT8 version of a graph, load it back and judge both.

    Args:
        graph: in floating point, from `images` to `logits`.
        folder: where the file is written.
        say: told what became of each kind of nodes.

    Raises:
        ExportError: no kind of nodes can be INT8, or the graph that was written does not work.
    """
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.int8.") as name:
        chosen = _Choice(graph, Path(name), held_out, one_image(exported))
        for kind in chosen.calibrated.kinds:
            say(f"{kind}: {chosen.attempt(kind) or 'INT8'}")
        if not chosen.int8:
            raise ExportError("int8: got no kind of nodes that can be INT8 at this accuracy, expected one; export without int8")
        _copy(chosen.current, graph, folder / FILE)
    files = (graph, folder / FILE)
    _check(exported, folder / FILE)
    first, second = (judge(run_of_file(file), held_out.search, held_out.task).score for file in files)
    latencies = measure_graphs(files, one_image(exported), TARGET)
    return Int8Export(
        chosen.int8, chosen.in_float, (first, second), (latencies[0], latencies[1]), (graph.stat().st_size, files[1].stat().st_size),
        sum(len(images) for images, _ in held_out.calibration), Path(held_out.images.source).name,
    )  # fmt: skip


class _Choice:
    """The kinds of nodes that are INT8 so far, and the graph with them."""

    def __init__(self, graph: Path, folder: Path, held_out: HeldOut, image: Tensor) -> None:
        self._folder, self._held_out, self._image = folder, held_out, image
        feeds = [{"images": images_BCHW.numpy()} for images_BCHW, _ in held_out.calibration]
        self.calibrated = CalibratedGraph(graph, feeds, folder)
        self.current = graph
        self._log_likelihood = self._judged(graph)
        self.int8: tuple[str, ...] = ()
        self.in_float: dict[str, str] = {}

    def attempt(self, kind: str) -> str:
        """Quantise a kind as well, if that pays; why not, or nothing."""
        file = self._folder / f"{len(self.int8) + len(self.in_float)}.onnx"
        self.calibrated.write_quantised((*self.int8, kind), file)
        try:
            why = self._objection(kind, file)
        except OnnxRuntime(TARGET).failures as error:
            why = f"ONNX Runtime cannot run it: {one_line(error)}"
        if why:
            file.unlink()
            self.in_float[kind] = why
        else:
            self.current, self.int8 = file, (*self.int8, kind)
        return why

    def _objection(self, kind: str, file: Path) -> str:
        if kind not in WITH_WEIGHTS:
            ratios = np.quantile(time_ratios(self.current, file, self._image, TARGET, TRIAL_ROUNDS), (0.5, SURELY))
            if ratios[1] > 1 - LEAST_GAIN:
                return f"in INT8 not surely {LEAST_GAIN:.0%} faster: the graph takes {ratios[0]:.2f} times as long"
        found = self._judged(file)
        lost = self._log_likelihood - found
        # Not a number is no less than anything.
        if not lost <= MOST_LOST:
            return f"in INT8 {lost:.3g} nats less likely by {self._held_out.task.unit}, expected at most {MOST_LOST:g}"
        self._log_likelihood = found
        return ""

    def _judged(self, file: Path) -> float:
        return judge(run_of_file(file), self._held_out.calibration, self._held_out.task).score.log_likelihood


def _copy(quantised: Path, original: Path, file: Path) -> None:
    """The quantised graph, with the metadata of the original."""
    import onnx

    if file.exists():
        raise ExportError(f"int8: got {file.name} in the folder already, expected none")
    shutil.copyfile(quantised, file)
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {one.key: one.value for one in onnx.load(original, load_external_data=False).metadata_props})
    onnx.save(model, file)


def _check(exported: ExportedNetwork, file: Path) -> None:
    """Load a graph and run it on random images of all sizes that are compared; ExportError where its logits have another shape or are
    not finite."""
    run = run_of_file(file)
    for (height, width), batch in itertools.product(image_sizes(OnnxGraph(), exported), BATCHES):
        images_BCHW = torch.randn(batch, exported.architecture.in_chans, height, width)
        with torch.inference_mode():
            expected = exported.network(images_BCHW).shape
        logits = run(images_BCHW)
        if logits.shape != expected or not logits.isfinite().all():
            raise ExportError(f"{file.name}: got logits of shape {tuple(logits.shape)}, expected finite ones of shape {tuple(expected)}")
