"""`python -m nas.report`: every section from a real search, a page that loads nothing, and figures that are what they say."""

from __future__ import annotations

import html
import json
import random
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.audit import __main__ as audit
from nas.cli.command_line import ConfigParser
from nas.compare import __main__ as compare
from nas.evaluators.supernet import load_evaluator
from nas.report import __main__ as report
from nas.report.ablation import MAX_REPLACEMENTS, SLACK, ablation_of
from nas.report.cost_columns import cost_cells, macs_unit
from nas.report.importance import importances_of
from nas.report.mixer_counts import best_of, mixer_counts
from nas.report.page import millions
from nas.runs.directory import storage_of_run
from nas.runs.records.ablation import read_ablation
from nas.runs.records.search import read_finished_search
from nas.search import __main__ as search
from nas.search.config import SearchConfig, search_config_of
from nas.study.record import Result, open_study
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Cost, parse_budget
from proxies.macs import cost_of
from space.files import dump_architecture, load_architecture, load_provenance, load_space
from supernet.intervals import over_images, over_seeds
from supernet.score import Score
from tests.nas.conftest import Mistaken
from tests.nas.small_search import SPACE, command
from tests.pictures import write_pictures

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "formaction", "background"}
HOSTILE = "<img src=x onerror=alert(1)> & \"quoted\" <b>'bold'"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"


class Page(HTMLParser):
    """Parses a page, and refuses what is not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag}: an attribute comes twice"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed but never opened: {tag}"
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] == "h2":
            self.headings[-1] += data


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with successive halving of which everything was measured that a report can tell."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny.yaml").write_text(SPACE)
    write_pictures(folder / "images" / "train", count=20)
    write_pictures(folder / "images" / "val", count=4)
    (folder / "recipe.yaml").write_text(RECIPE)
    halving = ["--halving-candidates", "2", "--halving-steps", "2"]
    assert search.main(command(folder, "--trials", "50", "--sampler", "random", *halving)) == 0
    run = str(folder / "run")
    assert compare.main([run, "--workers", "1", "--recipe", str(folder / "recipe.yaml"), "--random", "1", "--seeds", "2"]) == 0
    few = ["--architectures", "4", "--seeds", "2", "--steps", "2", "--batch-size", "8", "--short", "1", "--long", "0"]
    assert audit.main(["--run", run, "--workers", "1", *few]) == 0
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy of that search's directory, which a test may change."""
    return Path(shutil.copytree(searched / "run", tmp_path / "run"))


@pytest.fixture
def bare(run: Path) -> Path:
    """The same without audit, comparison and successive halving."""
    for name in ("audit", "comparison", "standalone"):
        shutil.rmtree(run / name)
    (run / "halving.json").unlink()
    return run


def page_of(run: Path) -> Page:
    return Page((run / "report.html").read_text())


def results_of(run: Path) -> list[Result]:
    return open_study(storage_of_run(run)).results()


def test_a_search_ends_with_a_page_about_it(searched: Path) -> None:
    # Of the search itself, which knew of no comparison and no audit yet.
    page = page_of(searched / "run")
    assert "how well the scores rank: nas.audit measures it" in page.text
    assert "Successive halving: trained alone" in page.text
    assert "Trained alike from scratch for 2 steps with 2 seeds, accuracy on 12 test images" in page.text
    assert page.tags["svg"] >= 4


def test_a_page_tells_all_that_was_measured(run: Path) -> None:
    assert report.main([str(run), "--ablation"]) == 0
    page = page_of(run)
    assert page.headings == [
        "Result", "The winner", "What accuracy costs", "Which mixer won where", "What each block’s mixer is worth",
        "Which choices mattered", "How far the ranking can be trusted", "How this was made",
    ]  # fmt: skip
    assert "not measured" not in page.text
    # Every chart for a phone and for a wider page; the drawing is for both.
    assert page.tags["svg"] == 2 * 5 + 1
    assert "MFLOPs" in page.text
    assert "GFLOPs" not in page.text
    results, best = results_of(run), load_provenance(run / "best.yaml")
    (winner,) = [result for result in results if result.number == best["trial"]]
    accuracy = over_images(winner.score.value, winner.score.num_images)
    for printed in (
        f"trial {winner.number} won: {winner.cost}",
        f"{100 * accuracy.share:.1f} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]",
        f"on {winner.score.num_images} search images", "ranks architectures and is no test accuracy", "on 12 test images",
        json.loads((run / "audit" / "report.json").read_text())["verdict"][0], "PED-ANOVA", f"on {len(results)} trials",
        winner.architecture.fingerprint, "optuna 5", "1 steps", "2 steps", "next 2", "median of 1 random, retrained",
    ):  # fmt: skip
        assert printed in page.text, printed


def test_what_was_not_measured_is_said(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(bare)]) == 0
    assert capsys.readouterr().out == f"report: {bare / 'report.html'}\n"
    page = page_of(bare)
    assert page.headings == ["Result", "The winner", "What accuracy costs", "Which mixer won where", "Which choices mattered",
                             "What was not measured", "How this was made"]  # fmt: skip
    for printed in ("retrained alike: nas.compare", "mixer is worth: nas.report --ablation", "how well the scores rank: nas.audit"):
        assert printed in page.text
    assert "Successive halving" not in page.text


def test_a_page_loads_nothing_and_is_whole(run: Path) -> None:
    assert report.main([str(run), "--ablation"]) == 0
    text = (run / "report.html").read_text()
    page = Page(text)
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    assert all(value.startswith("#") for _, name, value in page.attributes if name in LOADING)
    assert "@import" not in text
    assert all(rest.startswith("#") for rest in text.split("url(")[1:])
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    referred = {value[1:] for _, name, value in page.attributes if name in LOADING} | {
        rest.partition(")")[0][1:] for rest in text.split("url(")[1:]
    }
    assert referred <= set(identifiers)
    labelled = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labelled) == page.tags["svg"]
    assert all(labelled)
    assert len(text) < 2_000_000


def test_the_same_directory_gives_the_same_bytes(run: Path) -> None:
    assert report.main([str(run)]) == 0
    first = (run / "report.html").read_bytes()
    assert report.main([str(run)]) == 0
    assert (run / "report.html").read_bytes() == first
    assert not list(run.glob(".*.tmp"))


def test_names_out_of_files_do_not_become_html(run: Path) -> None:
    best = run / "best.yaml"
    best.write_text(dump_architecture(load_architecture(best).replace(name=HOSTILE), load_provenance(best)))
    config = json.loads((run / "config.json").read_text())
    config["config"]["data"], config["versions"][HOSTILE] = HOSTILE, HOSTILE
    (run / "config.json").write_text(json.dumps(config))
    found = json.loads((run / "audit" / "report.json").read_text())
    found |= {"verdict": [HOSTILE], "facts": {HOSTILE: HOSTILE}}
    (run / "audit" / "report.json").write_text(json.dumps(found))
    file = run / "comparison" / "comparison.json"
    file.write_text(file.read_text().replace('"random 1"', json.dumps(HOSTILE)))
    assert report.main([str(run)]) == 0
    text = (run / "report.html").read_text()
    page = Page(text)
    assert not page.tags.keys() & {"script", "img"}
    assert "<b>'bold'" not in text
    # The data in head and command, the versions, the audit's three, the table and the plot's text, the drawing.
    assert page.text.count("<img src=x onerror=alert(1)>") >= 8


def told_config(run: Path) -> SearchConfig:
    """The config that the command on the page asks for."""
    printed = shlex.split(read_finished_search(run).command)
    assert printed[:3] == ["python", "-m", "nas.search"]
    return ConfigParser(SearchConfig, prog="python -m nas.search").read(printed[3:])


def test_the_command_told_is_the_one_that_was_given(searched: Path) -> None:
    assert told_config(searched / "run") == search_config_of(searched / "run")


def test_a_search_without_a_supernet_and_a_front_have_pages_too(folder: Path, mistaken: Mistaken) -> None:
    judged = ["--evaluator", "standalone", "--standalone-steps", "1"]
    alone = command(folder, "--trials", "3", *judged, "--objectives", "accuracy", "macs", trains=False)
    assert search.main(alone) == 0
    page = page_of(folder / "run")
    for printed in (
        "1 steps of training alone", "log-likelihood, MFLOPs", "Pareto front", "is the most accurate: ",
    ):  # fmt: skip
        assert printed in page.text
    # What a search without a supernet can never have is left out, and what needs more trials.
    assert page.headings == ["Result", "The most accurate", "What accuracy costs", "Which mixer won where", "What was not measured",
                             "How this was made"]  # fmt: skip
    assert "supernet.safetensors" in mistaken(report.main, [str(folder / "run"), "--ablation"])
    assert told_config(folder / "run") == search_config_of(folder / "run")


def test_measured_latencies_stand_in_the_table(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["config"]["budget"] += " 20ms@cpu:1t:bs1"
    (run / "config.json").write_text(json.dumps(config))
    best = run / "best.yaml"
    measured = {"measured_ms": {"cpu:1t:bs1:fp32": 12.3456}}
    best.write_text(dump_architecture(load_architecture(best), load_provenance(best) | measured))
    assert report.main([str(run)]) == 0
    page = page_of(run)
    assert "ms, cpu:1t:bs1:fp32 winner" in page.text
    assert page.text.count(" 12.3 ") == 1
    assert "in brackets predicted" in page.text


def test_ablations_are_paired_differences_and_scored_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(run), "--ablation"]) == 0
    assert "mixer ablation: " in capsys.readouterr().out
    best = load_architecture(run / "best.yaml")
    found = read_ablation(run, best.fingerprint)
    supernet_run = open_supernet_run(run)
    ablation = ablation_of(best, supernet_run.space, read_finished_search(run).budget)
    assert found is not None
    assert {one.architecture.fingerprint for one in ablation.replacements} == found.effects.keys()
    evaluator = load_evaluator(supernet_run)
    reference = evaluator(best)
    for one in ablation.replacements[:3]:
        score, effect = evaluator(one.architecture), found.effects[one.architecture.fingerprint]
        assert effect.log_likelihood == pytest.approx(score.log_likelihood - reference.log_likelihood, abs=1e-6)
        assert effect.headline == pytest.approx(score.value - reference.value)
        assert (effect.macs, effect.params) == (cost_of(one.architecture).macs, cost_of(one.architecture).params)
    before = (run / "ablation.json").stat().st_mtime_ns
    assert report.main([str(run), "--ablation"]) == 0
    assert "mixer ablation: " not in capsys.readouterr().out
    assert (run / "ablation.json").stat().st_mtime_ns == before
    # Those of another winner say nothing of this one.
    assert read_ablation(run, load_architecture(run / "next-2.yaml").fingerprint) is None


BANDS = [
    ArchitectureBand(load_space(space), parse_budget(budget))
    for space, budget in (("hybrid-32", "30MFLOPs"), ("hybrid-224", "4.5GFLOPs 40Mparams"))
]


@settings(max_examples=8)
@given(st.sampled_from(BANDS), st.integers(0, 2**32))
def test_a_replacement_changes_one_mixer_and_hardly_the_cost(band: ArchitectureBand, seed: int) -> None:
    space, budget, winner = band.space, band.budget, band.draw(random.Random(seed))
    ablation = ablation_of(winner, space, budget)
    assert len(ablation.replacements) <= min(MAX_REPLACEMENTS, ablation.num_possible)
    for one in ablation.replacements:
        assert space.contains(one.architecture)
        assert one.cost == cost_of(one.architecture)
        assert budget.excess(one.cost) <= SLACK
        before, after = (network.stages[one.stage - 1].blocks[one.block - 1] for network in (winner, one.architecture))
        assert before.mixer.type != after.mixer.type
        assert after == before.model_copy(update={"mixer": one.mixer})
        blocks = [[block for stage in network.stages for block in stage.blocks] for network in (winner, one.architecture)]
        assert sum(a != b for a, b in zip(*blocks, strict=True)) == 1


def some_results(count: int) -> Iterator[Result]:
    """Random members of which the width of the last stage alone decides."""
    space, rng = load_space("hybrid-32"), random.Random(0)
    for number in range(count):
        drawn = space.sample(rng)
        score = Score(0.5, 0.1, drawn.stages[-1].width + rng.random(), 0.1, 20)
        yield Result(number, number, {}, drawn, {"macs": 1, "params": 1}, "random", score, 1.0)


def test_the_slot_that_decides_is_the_most_important() -> None:
    space, results = load_space("hybrid-32"), list(some_results(200))
    importances = importances_of(space, results)
    assert next(iter(importances)) == "stage3.width"
    assert sum(importances.values()) == pytest.approx(1)
    assert importances_of(space, results[:49]) == {}


def test_mixers_are_counted_where_a_stage_is_deep_enough() -> None:
    results = sorted(some_results(30), key=lambda result: result.rank_key, reverse=True)
    best = best_of(results)
    assert len(best) == 3
    for of_block in mixer_counts(best, results):
        for counts, some in ((of_block.best, best), (of_block.all, results)):
            deep = [one.architecture.stages[of_block.stage - 1].blocks for one in some]
            assert Counter(counts) == Counter(blocks[of_block.block - 1].mixer.type for blocks in deep if len(blocks) >= of_block.block)


def test_intervals() -> None:
    # Wilson's for 8 of 10, and Student's for a standard deviation of .01 over three seeds: t = 4.303.
    one = over_images(0.8, 10)
    assert (one.low, one.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    three = over_seeds([0.50, 0.51, 0.52], 1000)
    assert three is not None
    assert (three.share, three.high - three.share) == pytest.approx((0.51, 4.303 * 0.01 / 3**0.5), abs=1e-5)
    assert over_seeds([0.8], 10) == one
    assert over_seeds([0.8], None) is None


def test_millions_have_three_digits() -> None:
    assert [millions(amount) for amount in (456_000, 14_000_000, 99_940_000, 4_480_123_000)] == ["0.456", "14.0", "99.9", "4,480"]


def test_a_table_of_small_networks_is_in_mflops() -> None:
    assert cost_cells(Cost(27_900_000, 640_000), macs_unit(27_900_000)) == ("27.9", "0.640")
    assert cost_cells(Cost(4_080_000_000, 15_400_000), macs_unit(4_500_000_000)) == ("4.08", "15.4")
    assert [macs_unit(macs).name for macs in (0, 999_999_999, 10**9)] == ["MFLOPs", "MFLOPs", "GFLOPs"]



def test_a_dry_run_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    assert report.main([str(run), "--ablation", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"  {run / 'report.html'}  1 MB\n" in out
    assert "replacements of mixers to score" in out
    assert "nothing was written" in out
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


def test_mistakes_end_in_one_line_and_leave_no_page(run: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    (run / "report.html").unlink()
    assert "expected one with a config.json" in mistaken(report.main, [str(tmp_path)])
    for name, content, printed in (
        ("audit/report.json", '{"verdict": 3}', "audit/report.json: verdict"),
        ("ablation.json", "{", "ablation.json: content"),
        ("comparison/comparison.json", '{"networks": [{"label": 1}]}', "comparison.json: networks.0.label"),
        ("halving.json", '{"steps": ["many"]}', "halving.json: steps.0"),
        ("config.json", '{"config": {"space": "tiny"}}', "config.json: "),
        ("best.yaml", "", "best.yaml"),
    ):
        before = (run / name).read_bytes() if (run / name).exists() else None
        (run / name).write_text(content)
        assert printed in mistaken(report.main, [str(run)]), name
        (run / name).unlink()
        if before is not None:
            (run / name).write_bytes(before)
    document = yaml.safe_load((run / "best.yaml").read_text())
    kept = (run / "best.yaml").read_text()
    (run / "best.yaml").write_text(yaml.safe_dump(document | {"num_classes": 7}))
    assert "none of the study's" in mistaken(report.main, [str(run)])
    (run / "best.yaml").write_text(yaml.safe_dump(document | {"provenance": document["provenance"] | {"measured_ms": "slow"}}))
    assert "measured_ms" in mistaken(report.main, [str(run)])
    (run / "best.yaml").unlink()
    assert "has no best.yaml" in mistaken(report.main, [str(run)])
    assert not (run / "report.html").exists()
    (run / "best.yaml").write_text(kept)
    assert report.main([str(run)]) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_phone_shows_the_page_without_scrolling_sideways(run: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    assert report.main([str(run), "--ablation"]) == 0
    text = (run / "report.html").read_text().replace("<details>", "<details open>")
    # A window cannot be as narrow as a phone, a frame can.
    frame = f'<iframe style="border:0;width:375px;height:800px" srcdoc="{html.escape(text)}"></iframe>'
    measure = "const root = document.querySelector('iframe').contentDocument.documentElement; "
    measure += "const cut = [...root.querySelectorAll('.box')].slice(0, 3).map(box => box.scrollWidth - box.clientWidth); "
    measure += "document.title = [root.scrollWidth, ...cut]"
    (tmp_path / "phone.html").write_text(f"<!DOCTYPE html><title></title>{frame}<script>onload = () => {{ {measure} }}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    offline = ["--no-first-run", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    page = (tmp_path / "phone.html").as_uri()
    shown = subprocess.run([CHROMIUM, *options, *offline, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True)
    # Nor is a column of the first tables cut off: results, successive halving, published networks.
    assert "<title>375,0,0,0</title>" in shown.stdout, shown.stdout[:200]
