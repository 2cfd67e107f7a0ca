"""Measures networks, and the parts that they are made of, in rounds.

A machine has slow phases. So everything runs in every round, in random order, and a reference network in between shows how fast the
machine is (see `proxies.latency.reference_clock`).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from proxies.band.space_cost import Keys
from proxies.latency.backends import Backend, BackendError, Clock, Run, backend_of
from proxies.latency.class_maps import check_output, with_output
from proxies.latency.reference_clock import Measured, ReferenceClock, Repeats, Timer
from proxies.macs import cost_of
from proxies.target import Target
from space.architecture import Architecture, Part
from space.fuse import fuse
from space.network import build_network
from space.parts import build_part

NS_A_ROUND = 20_000_000
MAX_REPEATS = 20
"""In each round a network is timed for about `NS_A_ROUND` or `MAX_REPEATS` runs, after as many runs to warm up."""
SECONDS_UNSAVED = 5.0
"""After so long, the finished rounds are saved."""
OnProgress = Callable[[int, int], None]
"""Told what is done, and of how much."""
Save = Callable[[int, Repeats], None]
"""Saves a number of finished rounds and their repeats."""


@dataclass(frozen=True)
class Effort:
    """How many rounds are measured, after one to warm up: what fits into some seconds, within bounds."""

    seconds: float = 150.0
    least_rounds: int = 8
    most_rounds: int = 40

    def rounds(self, seconds_a_round: float) -> int:
        """The number of rounds where one takes so long."""
        return min(max(round(self.seconds / max(seconds_a_round, 1e-9)), self.least_rounds), self.most_rounds)


SHORT = Effort(seconds=8.0, least_rounds=12)
"""A few networks by themselves."""


@dataclass(frozen=True)
class Session:
    """What was measured together.

    Args:
        parts: by key.
        networks: in the order of their architectures; an error instead of a latency where the backend cannot run one.
        reference: what all latencies are scaled by.
        drift: by how much the machine's speed changed meanwhile, relative.
    """

    parts: Mapping[str, Measured]
    networks: Sequence[Measured | BackendError]
    reference: ReferenceClock
    drift: float


def measure_architecture(
    architecture: Architecture, target: Target, effort: Effort = SHORT, reference: ReferenceClock | None = None
) -> Measured:
    """Measure one architecture's fused network, freshly initialised, on random images.

    Raises TargetError where this machine lacks the target, BackendError where its backend cannot run the network.
    """
    (found,) = measure_architectures([architecture], target, effort, reference)
    if isinstance(found, BackendError):
        raise found
    return found


def measure_architectures(
    architectures: Sequence[Architecture], target: Target, effort: Effort = SHORT, reference: ReferenceClock | None = None
) -> Sequence[Measured | BackendError]:
    """Measure several architectures in the same rounds, scaled by a given reference or by their own; all are in memory together.

    In place of what the backend cannot run stands the error that says why. Raises BackendError where it cannot run any of them.
    """
    return measure_rounds({}, [], architectures, target, effort, random.Random(0), reference).networks


def measure_rounds(
    parts: Mapping[str, Part],
    walks: Sequence[Sequence[Keys]],
    architectures: Sequence[Architecture],
    target: Target,
    effort: Effort,
    rng: random.Random,
    reference: ReferenceClock | None = None,
    on_progress: OnProgress = lambda done, total: None,
    earlier: tuple[int, Repeats] | None = None,
    save: Save | None = None,
) -> Session:
    """Measure parts along walks through them (see `SpaceParts`), and whole networks, all in the same rounds.

    A part is timed inside a walk: its input has just been written and its weights have left the nearest cache, as in a network. The
    maps that taps and the head behind them take have been written long before, as in a network.

    Args:
        reference: by default the network of median multiply-adds, at its speed in this session.
        earlier: rounds that another process has measured, and their repeats; used where the machine is as fast as then.
        save: called every few seconds, between rounds, with all that was measured.

    Raises BackendError where the backend cannot run a part, the reference, or any of the networks, and TargetError where these have
    another output than the target.
    """
    backend = backend_of(target)
    check_output(target, architectures)
    side = architectures[0].image_size
    num_prepared = len(parts) + len(architectures)
    with torch.random.fork_rng(devices=[]), backend.running():
        torch.manual_seed(0)
        runs: dict[str, Run] = {}
        for key, part in parts.items():
            runs[key] = _prepared_part(part, backend, key, side)
            on_progress(len(runs), num_prepared + effort.most_rounds)
        networks: dict[int, Run] = {}
        failures: dict[int, BackendError] = {}
        for i, architecture in enumerate(architectures):
            try:
                networks[i] = _prepared_network(architecture, backend)
            except BackendError as error:
                failures[i] = error
            on_progress(len(runs) + i + 1, num_prepared + effort.most_rounds)
        if failures and not networks:
            raise failures[0]
        clock = backend.clock
        if reference is None:
            median = sorted(networks, key=lambda i: cost_of(architectures[i]).macs)[len(networks) // 2]
            reference_architecture, reference_run = architectures[median], networks[median]
        else:
            reference_architecture = reference.architecture
            reference_run = _prepared_network(reference_architecture, backend)
        repeated = {i: Repeated(run, clock) for i, run in networks.items()}

        def one_round() -> list[tuple[Sequence[str], Callable[[], list[int]]]]:
            """Labels, and what times their runs, in random order."""
            timed: list[tuple[Sequence[str], Callable[[], list[int]]]] = []
            for walk in walks:
                keys = [key for segment in walk for key in rng.sample(segment, len(segment))]
                value = backend.value(_random_maps(parts[keys[0]], target.batch)[0])
                timed.append((keys, partial(_times, [runs[key] for key in keys], value, clock)))
            timed += [([label_of(i)] * network.count, network.times) for i, network in repeated.items()]
            rng.shuffle(timed)
            return timed

        started = time.perf_counter()
        for _, times in one_round():  # A round to warm up, and to see how long one takes.
            times()
        num_rounds = effort.rounds(time.perf_counter() - started)
        done, repeats = earlier or (0, None)
        timer = Timer(Repeated(reference_run, clock).median, reference.nanoseconds if reference else None, repeats)
        saved = time.monotonic()
        for number in range(done + 1 if timer.continues else 1, num_rounds + 1):
            for labels, times in one_round():
                timer.add(labels, times())
            if number == num_rounds:
                timer.flush()
            elif save is not None and time.monotonic() - saved >= SECONDS_UNSAVED:
                save(number, timer.repeats())
                saved = time.monotonic()
            on_progress(num_prepared + number, num_prepared + num_rounds)
    return Session(
        {key: timer.measured(key) for key in parts},
        [failures[i] if i in failures else timer.measured(label_of(i)) for i in range(len(architectures))],
        ReferenceClock(architecture=reference_architecture, nanoseconds=timer.nominal_ns),
        timer.drift,
    )


def label_of(network: int) -> str:
    """The label of a network's runs, by its number; a part's label is its key."""
    return f"network {network}"


class Repeated:
    """Runs a network several times in a row, after as many runs to warm up: others have emptied the caches."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self._run, self._clock = run, clock
        self.count = min(max(NS_A_ROUND // max(self._timed(2)[1], 1), 1), MAX_REPEATS)

    def times(self) -> list[int]:
        """Nanoseconds of every run."""
        return self._timed(2 * self.count)[self.count :]

    def median(self) -> int:
        """The median of these."""
        return round(statistics.median(self.times()))

    def _timed(self, count: int) -> list[int]:
        return _times([self._run] * count, None, self._clock)


def _times(runs: Sequence[Run], value: Any, clock: Clock) -> list[int]:
    """Nanoseconds of runs, each on the output of the one before."""
    marks = [clock.mark()]
    for run in runs:
        value = run(value)
        marks.append(clock.mark())
    return clock.between(marks)


def _random_maps(part: Part, batch: int) -> list[torch.Tensor]:
    """Random maps (B, H, W, C) that a part takes."""
    return [torch.randn(batch, *shape) for shape in part.inputs]


def _prepared_part(part: Part, backend: Backend, key: str, side: int) -> Run:
    """A part, fused. One that takes a list of maps, from anywhere before it, ignores its argument and runs on the same maps always.

    Args:
        side: of the image, in pixels.
    """
    maps = _random_maps(part, backend.target.batch)
    module = fuse(build_part(part))
    if part.path == "head":
        module = with_output(module, backend.target, side, is_head=True)
    if not part.maps:
        return backend.tried(module, maps[0], key)
    run, values = backend.tried(module, maps, key), backend.value(maps)
    return lambda _: run(values)


def _prepared_network(architecture: Architecture, backend: Backend) -> Run:
    """A network that ignores its argument and always runs on the same images."""
    images_BCHW = torch.randn(backend.target.batch, architecture.in_chans, *(architecture.image_size,) * 2)
    network = with_output(build_network(architecture).fuse(), backend.target, architecture.image_size)
    run, images = backend.tried(network, images_BCHW, architecture.name), backend.value(images_BCHW)
    return lambda _: run(images)
