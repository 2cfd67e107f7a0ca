"""Measures the graphs of a kit with ONNX Runtime and writes `latencies.json`.

    python measure.py --threads 4 --minutes 5

Needs Python 3.10 or newer, numpy and onnxruntime. Run the same command again to continue after an interruption. Leave the device alone
meanwhile. The answer goes back to the machine with the search: `python -m nas.latency import latencies.json --name NAME`.

All graphs run in every round, in random order, so that disturbances meet all alike. One network, the reference, runs about every second,
and all times are scaled by its pace: devices slow down as they get warm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MANIFEST, ANSWER, UNFINISHED = "manifest.json", "latencies.json", "latencies.unfinished.json"
LEAST_ROUNDS, MOST_ROUNDS = 3, 40
PASSES = 3
"""Runs of every part in a round."""
NS_A_VISIT = 20_000_000
LEAST_RUNS, MOST_RUNS = 3, 20
"""A network runs for about `NS_A_VISIT`, within these bounds, after as many runs to warm up."""
NS_BETWEEN_READINGS = 1_000_000_000
MAX_CHANGE = 0.1
"""Where the reference takes longer or shorter by more, what ran meanwhile counts only if there is nothing else."""
SECONDS_BETWEEN_LINES = 5.0
QUARTILES = (0.25, 0.5, 0.75)


class Mistake(Exception):
    """Something that the user can mend, in one line."""


class OpenGraph:
    """A graph that is ready to run on random inputs."""

    def __init__(self, entry: dict[str, Any], provider: str) -> None:
        import numpy
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # One pool of threads for all: those of a session that ran before would still be waiting for work.
        options.use_per_session_threads = False
        self._session = onnxruntime.InferenceSession(str(HERE / entry["file"]), options, providers=[provider])
        used = self._session.get_providers()[0]
        if used != provider:
            raise Mistake(f"--provider: got {provider}, which fell back to {used}, expected one that works here")
        device = "cuda" if provider.startswith(("CUDA", "Tensorrt")) else "cpu"
        numbers = numpy.random.default_rng(0)
        self._binding = self._session.io_binding()
        for node, shape in zip(self._session.get_inputs(), entry["inputs"], strict=True):
            value = numbers.standard_normal(shape, numpy.float32)
            self._binding.bind_ortvalue_input(node.name, onnxruntime.OrtValue.ortvalue_from_numpy(value, device))
        for node in self._session.get_outputs():
            self._binding.bind_output(node.name, device)

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)


class Stopwatch:
    """Times runs, and the reference network in between.

    Args:
        clock: gives nanoseconds.
        state: `readings` of the reference in nanoseconds, and `runs` by name as pairs: the time in units of the reference, and
            whether that was steady. It is what a continued measurement starts with.
    """

    def __init__(self, clock: Callable[[], int], reference: OpenGraph, state: dict[str, Any]) -> None:
        self._clock, self._reference, self._state = clock, reference, state
        self._pending: list[tuple[str, int]] = []
        self._count = self._runs_a_visit(reference)
        self._read()

    def time_once(self, name: str, session: OpenGraph) -> None:
        """Time one run; other graphs have emptied the caches, as they do inside a network."""
        start = self._clock()
        session.run()
        self._add(name, self._clock() - start)

    def visit(self, name: str, session: OpenGraph) -> None:
        """Time some runs in a row."""
        for nanoseconds in self._some_runs(session, self._runs_a_visit(session)):
            self._add(name, nanoseconds)

    def flush(self) -> None:
        """Read the reference for what has run since the last time."""
        before, after = self._state["readings"][-1], self._read()
        is_steady = abs(after / before - 1) <= MAX_CHANGE
        for name, nanoseconds in self._pending:
            self._state["runs"].setdefault(name, []).append([2 * nanoseconds / (before + after), is_steady])
        self._pending.clear()

    def _add(self, name: str, nanoseconds: int) -> None:
        self._pending.append((name, nanoseconds))
        if sum(one for _, one in self._pending) >= NS_BETWEEN_READINGS:
            self.flush()

    def _runs_a_visit(self, session: OpenGraph) -> int:
        session.run()
        start = self._clock()
        session.run()
        return min(max(NS_A_VISIT // max(self._clock() - start, 1), LEAST_RUNS), MOST_RUNS)

    def _some_runs(self, session: OpenGraph, count: int) -> list[int]:
        times = []
        for _ in range(2 * count):
            start = self._clock()
            session.run()
            times.append(self._clock() - start)
        return times[count:]

    def _read(self) -> int:
        import numpy

        reading = max(round(float(numpy.median(self._some_runs(self._reference, self._count)))), 1)
        self._state["readings"].append(reading)
        return reading


def main() -> int:
    """Measure; returns an exit code."""
    try:
        measure_kit(arguments())
    except Mistake as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="of the processor (1)")
    parser.add_argument("--provider", default="CPUExecutionProvider", help="of ONNX Runtime (CPUExecutionProvider)")
    parser.add_argument("--minutes", type=float, default=5.0, help=f"to measure for, {LEAST_ROUNDS} rounds at the least (5)")
    found = parser.parse_args()
    if found.threads < 1:
        raise Mistake(f"--threads: got {found.threads}, expected 1 or more")
    if not 0 <= found.minutes < 1e6:
        raise Mistake(f"--minutes: got {found.minutes}, expected 0 or more")
    return found


def measure_kit(options: argparse.Namespace) -> None:
    """Measure all graphs of the kit and write the answer."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Mistake(f"{error.name}: got none, expected it installed: pip install {error.name}") from None
    if options.provider not in onnxruntime.get_available_providers():
        raise Mistake(f"--provider: got {options.provider}, expected one of {', '.join(onnxruntime.get_available_providers())}")
    onnxruntime.set_global_thread_pool_sizes(options.threads, 1)
    manifest = json.loads((HERE / MANIFEST).read_text(encoding="utf-8"))
    parts = [entry for entry in manifest["graphs"] if entry["group"] == "parts"]
    networks = [entry for entry in manifest["graphs"] if entry["group"] == "networks"]
    is_exclusive = options.threads == 1 and options.provider == "CPUExecutionProvider" and sys.platform != "win32"
    device = device_facts(options, "processor time" if is_exclusive else "wall clock")
    state = state_to_continue(device)
    print(f"{len(parts)} parts and {len(networks)} networks on {device['processor']}, {options.threads} threads, {options.provider}")
    start, say = time.monotonic() - state["seconds"], Lines()
    sessions = {}
    for entry in parts:
        sessions[entry["name"]] = OpenGraph(entry, options.provider)
        sessions[entry["name"]].run()
        say(f"opened {len(sessions)} of {len(parts)} parts")
    (reference,) = (OpenGraph(entry, options.provider) for entry in networks if entry["name"] == manifest["reference"])
    stopwatch = Stopwatch(time.process_time_ns if is_exclusive else time.perf_counter_ns, reference, state)
    seconds_a_round = 0.0
    while state["rounds"] < rounds_in(options.minutes * 60 - (time.monotonic() - start), seconds_a_round, state["rounds"]):
        began = time.monotonic()
        # A visit is a network, opened for it: all of them together would not fit into a small device's memory.
        visits = [[entry] for entry in networks] + [random.sample(parts, len(parts)) for _ in range(PASSES if parts else 0)]
        random.shuffle(visits)
        for number, visit in enumerate(visits):
            for entry in visit:
                if entry["name"] in sessions:
                    stopwatch.time_once(entry["name"], sessions[entry["name"]])
                else:
                    stopwatch.visit(entry["name"], OpenGraph(entry, options.provider))
            total = rounds_in(options.minutes * 60 - (time.monotonic() - start), seconds_a_round, state["rounds"])
            total = max(total, state["rounds"] + 1)
            seconds = seconds_a_round * (total - state["rounds"] - (number + 1) / len(visits))
            say(f"round {state['rounds'] + 1} of about {total}" + (f", {seconds:.0f} s left" if seconds_a_round else ""))
        stopwatch.flush()
        seconds_a_round = time.monotonic() - began
        state.update(rounds=state["rounds"] + 1, seconds=time.monotonic() - start)
        write_whole(UNFINISHED, state)
    fixed = dict(manifest["answer"], schema="latencies/1", reference=manifest["reference"])
    answer: dict[str, Any] = dict(fixed, device=device, drift=drift_of(state), parts={}, networks={})
    for entry in manifest["graphs"]:
        answer[entry["group"]][entry["name"]] = dict(entry["about"], **latency_of(state, entry["name"]))
    write_whole(ANSWER, answer)
    (HERE / UNFINISHED).unlink()
    print(f"{state['rounds']} rounds in {state['seconds']:.0f} s; wrote {HERE / ANSWER}")


def rounds_in(seconds_left: float, seconds_a_round: float, done: int) -> int:
    """How many rounds there will be in all."""
    more = int(seconds_left / seconds_a_round) if seconds_a_round else 1
    return min(max(done + max(more, 0), LEAST_ROUNDS), MOST_ROUNDS)


def latency_of(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Quartiles in milliseconds, at the pace of the reference's faster phases."""
    import numpy

    runs = state["runs"][name]
    ratios = [ratio for ratio, is_steady in runs if is_steady] or [ratio for ratio, _ in runs]
    milliseconds = numpy.quantile(ratios, QUARTILES) * float(numpy.quantile(state["readings"], QUARTILES[0])) / 1e6
    named = zip(("q1_ms", "median_ms", "q3_ms"), milliseconds.tolist(), strict=True)
    return {"repeats": len(ratios), **{key: float(f"{value:.6g}") for key, value in named}}


def drift_of(state: dict[str, Any]) -> float:
    """By how much the device's pace changed: the slowest against the fastest tenth of the readings, relative."""
    import numpy

    fast, slow = numpy.quantile(state["readings"], (0.1, 0.9))
    return round(float(slow / fast - 1), 4)


def device_facts(options: argparse.Namespace, clock: str) -> dict[str, Any]:
    """What the answer says of the device."""
    import numpy
    import onnxruntime

    return {
        "platform": platform.platform(), "processor": processor(), "cores": os.cpu_count() or 0, "threads": options.threads,
        "provider": options.provider, "clock": clock, "python": platform.python_version(), "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
    }  # fmt: skip


def processor() -> str:
    """The processor's name; Linux has it in a file alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return names[0] if names else platform.processor() or platform.machine()


def state_to_continue(device: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run of this script measured on this device with these options, or the state of a new one."""
    fresh = {"device": device, "rounds": 0, "seconds": 0.0, "readings": [], "runs": {}}
    try:
        found = json.loads((HERE / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return fresh
    if found["device"] != device:
        print("what an earlier run measured was with other options or on another device; starting anew")
        return fresh
    print(f"continuing after {found['rounds']} rounds")
    return dict(found)


def write_whole(name: str, document: dict[str, Any]) -> None:
    """Write JSON under a temporary name first: a killed run leaves a whole file."""
    temporary = HERE / f".{name}.tmp"
    temporary.write_text(json.dumps(document, indent=None if name == UNFINISHED else 1) + "\n", encoding="utf-8")
    os.replace(temporary, HERE / name)


class Lines:
    """Prints progress, a line now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
