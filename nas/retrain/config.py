"""The settings of a retraining: keyword arguments of `nas.retrain.retrain`, options of `nas.retrain`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas.cli.data_option import HELP, TargetChoice, source_named
from nas.cli.given_architecture import given_architecture, name_of, weights_file_of
from nas.cli.options import REQUIRED, Config, Derived, Group, OptionError, option

if TYPE_CHECKING:
    from nas.retrain.recipe import Recipe
    from supernet.tasks.task import Task

TEACHER_FOLDER = "local-dir:"
"""Prefix of a teacher's folder, as in timm."""
RECIPE = Group("recipe", "what is not given here is as the recipe says")
BESIDE_ARCHITECTURE = Path()


def _absolute(value: Any) -> str:
    return str(Path(value).resolve())


def _teacher(value: Any) -> str:
    folder = str(value).removeprefix(TEACHER_FOLDER)
    return str(value) if folder == str(value) else TEACHER_FOLDER + _absolute(folder)


def _inherited(value: Any) -> Path | None:
    if isinstance(value, bool):
        return BESIDE_ARCHITECTURE if value else None
    if not isinstance(value, str | Path):
        raise ValueError(f"got {value!r:.80}, expected a safetensors file, or True for the one beside the architecture")
    return Path(value) if value == BESIDE_ARCHITECTURE else Path(value).resolve()


@dataclass(frozen=True, kw_only=True)
class RecipeChoice(Config):
    """A recipe, by name or file, and changes to it; the other fields are those of `nas.retrain.recipe.Recipe`."""

    recipe: str | None = option(None, "short, deit, seaformer, seg-short, topformer-ade or a YAML file (short, or seg-short for masks)",
                                group=RECIPE)  # fmt: skip
    epochs: int | None = option(None, "times that all images are seen; the warm-up follows", group=RECIPE, at_least=1)
    batch_size: int | None = option(None, "images a step, on all GPUs together; the learning rate follows", group=RECIPE, at_least=2)
    lr: float | None = option(None, "peak learning rate", group=RECIPE, above=0, below=10)
    accumulate: int | None = option(None, "parts of a batch to train on one after the other: less memory", group=RECIPE, at_least=1)
    precision: Literal["auto", "fp32", "bf16"] | None = option(None, "auto is bf16 on a GPU with units for it, else fp32", group=RECIPE)
    compile: bool | None = option(None, "train through torch.compile", group=RECIPE)
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

    def load(self, task: Task) -> Recipe:
        """The recipe with the changes; UserError where there is none, or its fields contradict each other or the task."""
        from nas.retrain.recipe import Recipe, load_recipe

        changes = {each.name: getattr(self, each.name) for each in fields(RecipeChoice) if each.name in Recipe.model_fields}
        recipe = load_recipe(self.recipe_name(task)).adapted(**changes)
        recipe.check_task(task)
        return recipe


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(RecipeChoice, TargetChoice):
    """Everything that a retraining depends on."""

    architecture: Any = option(
        REQUIRED, "YAML file, such as a search's best.yaml, or a published network's name", is_positional=True, convert=given_architecture,
        may_change=True,
    )  # fmt: skip
    data: str = option("digits", HELP, convert=source_named)
    test_data: str | None = option(None, "images to test on, likewise (the test part of --data, such as its val/)", convert=source_named)
    image_size: int | None = option(None, "side in pixels (the data's own)", at_least=32)
    minutes: float | None = option(None, "end training after this time at the latest; a later run has as long again", at_least=0, below=1e6,
                                   may_change=True)  # fmt: skip
    inherit: Path | None = option(
        None, "begin with the supernet's weights: a safetensors file, by default the one beside the YAML",
        nargs="?", const=BESIDE_ARCHITECTURE, convert=_inherited, metavar="FILE",
    )  # fmt: skip
    out: Path = option(
        Derived(lambda config: (Path("runs") / f"retrain-{Path(name_of(config.architecture)).stem}").resolve()),
        "the run's directory (runs/retrain-ARCHITECTURE)", convert=lambda value: Path(value).resolve(),
    )  # fmt: skip
    seed: int = option(0, "of weights, data order and augmentation")

    def check(self) -> None:
        super().check()
        if self.inherit == BESIDE_ARCHITECTURE and self.inherited_file is None:
            raise OptionError("inherit", f"got no weights beside {name_of(self.architecture)}, expected a safetensors file")

    @property
    def inherited_file(self) -> Path | None:
        """The initial weights; none for random ones."""
        if self.inherit == BESIDE_ARCHITECTURE:
            found = weights_file_of(self.architecture)
            return None if found is None else found.resolve()
        return self.inherit

    def values(self) -> dict[str, Any]:
        return super().values() | {"architecture": name_of(self.architecture), "inherit": self.inherited_file}
