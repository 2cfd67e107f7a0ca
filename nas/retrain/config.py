"""The settings of a retraining: keyword arguments of `nas.retrain.retrain`, options of `nas.retrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nas.cli.compile_option import CompileOption
from nas.cli.data_option import DEFAULT, HELP, TargetChoice, source_named
from nas.cli.given_architecture import given_architecture, name_of, weights_file_of
from nas.cli.options import REQUIRED, Config, Derived, Group, OptionError, option, quick_option
from nas.cli.trackers.by_name import check_tracker, log_option
from space.pretrained.fetching import NamedWeights
from space.pretrained.sources import SOURCES

if TYPE_CHECKING:
    from nas.retrain.origin import Origin
    from nas.retrain.recipe import Recipe
    from supernet.tasks.task import Task

TEACHER_FOLDER = "local-dir:"
"""Prefix of a teacher's folder, as in timm."""
RECIPE = Group("recipe", "what is not given here is as the recipe says")
SCRATCH, SUPERNET = "scratch", "supernet"
"""Begin with random weights; with those that a search wrote beside its winner."""
FINETUNING = "finetune-short"
"""The recipe where a training begins with trained weights."""


def _absolute(value: Any) -> str:
    return str(Path(value).resolve())


def _teacher(value: Any) -> str:
    folder = str(value).removeprefix(TEACHER_FOLDER)
    return str(value) if folder == str(value) else TEACHER_FOLDER + _absolute(folder)


def _origin(value: Any) -> str:
    """`scratch`, `supernet`, a published network's name, `NAME=FILE`, or the absolute path of a file."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"got {value!r:.80}, expected {SCRATCH}, {SUPERNET}, a published network's name, NAME=FILE or a file of weights")
    text = str(value)
    if text in (SCRATCH, SUPERNET) or text in SOURCES:
        return text
    return str(NamedWeights.parse(text)) if "=" in text and not Path(text).exists() else _absolute(text)


@dataclass(frozen=True, kw_only=True)
class RecipeChoice(Config):
    """A recipe, by name or file, and changes to it; the other fields are those of `nas.retrain.recipe.Recipe`."""

    recipe: str | None = option(None, "short, finetune-short, finetune, deit, seaformer, seg-short, topformer-ade or a YAML file "
                                "(short, finetune-short from trained weights, seg-short for masks)", group=RECIPE)  # fmt: skip
    epochs: int | None = option(None, "times that all images are seen; the warm-up follows", group=RECIPE, at_least=1)
    batch_size: int | None = option(None, "images a step, on all GPUs together; the learning rate follows", group=RECIPE, at_least=2)
    lr: float | None = option(None, "peak learning rate", group=RECIPE, above=0, below=10)
    accumulate: int | None = option(None, "parts of a batch to train on one after the other: less memory", group=RECIPE, at_least=1)
    precision: Literal["auto", "fp32", "bf16"] | None = option(None, "auto is bf16 on a GPU with units for it, else fp32", group=RECIPE)
    teacher: str | None = option(
        None, "to learn from: local-dir:FOLDER, hf-hub:OWNER/NAME, or a name of timm's with --teacher-weights",
        group=RECIPE, convert=_teacher, metavar="NETWORK",
    )  # fmt: skip
    teacher_weights: str | None = option(None, "the teacher's weights, .safetensors", group=RECIPE, convert=_absolute, metavar="FILE")
    distillation: Literal["hard", "soft"] | None = option(
        None, "learn the teacher's likeliest class, or its probabilities", group=RECIPE
    )

    def recipe_name(self, task: Task) -> str:
        """The recipe's name or file; by default the task's."""
        return self.recipe or task.recipe

    @property
    def changes(self) -> dict[str, Any]:
        """What is other than the recipe says, by field."""
        from nas.retrain.recipe import Recipe

        chosen = {each.name: getattr(self, each.name) for each in fields(RecipeChoice) if each.name in Recipe.model_fields}
        return {name: value for name, value in chosen.items() if value is not None}

    def load(self, task: Task) -> Recipe:
        """The recipe with the changes; UserError where there is none, or its fields contradict each other or the task."""
        from nas.retrain.recipe import load_recipe

        recipe = load_recipe(self.recipe_name(task)).adapted(**self.changes)
        recipe.check_task(task)
        return recipe


@dataclass(frozen=True, kw_only=True)
class InitialWeightsChoice(RecipeChoice):
    """A recipe for networks that may begin with trained weights; a config that inherits says which."""

    from_: str = option(SCRATCH, "weights to begin with")
    weights_folder: Path | None = option(None, "where to look for weights by name before the Hugging Face hub", metavar="FOLDER",
                                         convert=lambda value: Path(value).resolve(), may_change=True)  # fmt: skip

    @property
    def begins_trained(self) -> bool:
        """Whether networks begin with trained weights."""
        return self.from_ != SCRATCH

    def recipe_name(self, task: Task) -> str:
        """The recipe's name or file; by default the task's, or that of fine-tuning where networks begin with trained weights."""
        if self.recipe is None and self.begins_trained and task.per_image:
            return FINETUNING
        return super().recipe_name(task)


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(CompileOption, InitialWeightsChoice, TargetChoice):
    """Everything that a retraining depends on."""

    of_quick: ClassVar[Mapping[str, Any]] = {"epochs": 3}

    quick: bool = quick_option("3 epochs, about 2 minutes on two cores with the default data")
    architecture: Any = option(
        REQUIRED, "YAML file, such as a search's best.yaml, or a published network's name", is_positional=True, convert=given_architecture,
        may_change=True,
    )  # fmt: skip
    data: str = option(DEFAULT, HELP, convert=source_named)
    test_data: str | None = option(None, "images to test on, likewise (the test part of --data, such as its val/)", convert=source_named)
    image_size: int | None = option(None, "side in pixels (the data's own)", at_least=32)
    minutes: float | None = option(None, "end training after this time at the latest; a later run has as long again", at_least=0, below=1e6,
                                   may_change=True)  # fmt: skip
    from_: str = option(
        SCRATCH, "weights to begin with: random ones, those beside the YAML (supernet), a published network's (davit-t or davit-t=FILE), "
        "or a file of this architecture's", convert=_origin, metavar="WEIGHTS",
    )  # fmt: skip
    out: Path = option(
        Derived(lambda config: (Path("runs") / f"retrain-{Path(name_of(config.architecture)).stem}").resolve()),
        "the run's directory (runs/retrain-ARCHITECTURE)", convert=lambda value: Path(value).resolve(),
    )  # fmt: skip
    seed: int = option(0, "of weights, data order and augmentation")
    log: str = log_option()

    def check(self) -> None:
        super().check()
        check_tracker(self.log)
        if self.from_ == SUPERNET and weights_file_of(self.architecture) is None:
            raise OptionError("from_", f"got no weights beside {name_of(self.architecture)}, expected a safetensors file")

    @property
    def origin(self) -> Origin | None:
        """The initial weights; none for random ones."""
        from nas.retrain.origin import Origin

        if self.from_ == SCRATCH:
            return None
        if self.from_ == SUPERNET:
            beside = weights_file_of(self.architecture)
            assert beside is not None
            return Origin(beside.resolve())
        named = NamedWeights.parse(self.from_)
        is_named = named.file is not None or named.name in SOURCES
        return Origin(named if is_named else Path(self.from_), self.weights_folder)

    def values(self) -> dict[str, Any]:
        return super().values() | {"architecture": name_of(self.architecture), "from_": self.from_}
