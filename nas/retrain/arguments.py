"""How a command is told to train: a recipe's name or file, and what differs from it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.cli.command import CommandParser, number, whole_number

if TYPE_CHECKING:
    from nas.retrain.recipe import Recipe

FOLDER = "local-dir:"
"""Stands before a teacher's folder, as in timm."""


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe, by name or file, and what is to differ from it; None leaves it as it is.

    The fields but `recipe` are those of `nas.retrain.recipe.Recipe`.
    """

    recipe: str
    epochs: int | None
    batch_size: int | None
    lr: float | None
    accumulate: int | None
    precision: Literal["auto", "fp32", "bf16"] | None
    compile: bool | None
    teacher: str | None
    teacher_weights: str | None
    distillation: Literal["hard", "soft"] | None

    def load(self) -> Recipe:
        """The recipe to train by. UserError where there is none, or its parts do not go together."""
        from nas.retrain.recipe import load_recipe

        changes = {name: getattr(self, name) for name in RecipeChoice.__dataclass_fields__ if name != "recipe"}
        return load_recipe(self.recipe).adapted(**changes)


def add_recipe_arguments(parser: CommandParser) -> None:
    """Add what `RecipeChoice` holds."""
    group = parser.add_argument_group("recipe", "what is not given here is as the recipe says")
    group.add_argument("--recipe", default="short", help="short, deit or a YAML file (%(default)s)")
    group.add_argument("--epochs", type=whole_number(1), help="times that all images are seen; the warm-up follows")
    group.add_argument("--batch-size", type=whole_number(2), help="images a step, on all GPUs together; the learning rate follows")
    group.add_argument("--lr", type=_learning_rate, help="peak learning rate")
    group.add_argument("--accumulate", type=whole_number(1), help="parts of a batch to train on one after the other: less memory")
    group.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="auto is bf16 on a GPU with units for it, else fp32")
    group.add_argument("--compile", action="store_true", default=None, help="train through torch.compile")
    group.add_argument("--teacher", type=_teacher, metavar="NETWORK",
                       help="to learn from: local-dir:FOLDER, hf-hub:OWNER/NAME, or a name of timm's with --teacher-weights")  # fmt: skip
    group.add_argument("--teacher-weights", type=_absolute, metavar="FILE", help="the teacher's weights, .safetensors")
    group.add_argument("--distillation", choices=("hard", "soft"), help="learn the class that the teacher tells, or its probabilities")


def _learning_rate(text: str) -> float:
    value = number(0, 10)(text)
    if value == 0:
        raise argparse.ArgumentTypeError("got 0, expected more")
    return value


def _teacher(text: str) -> str:
    folder = text.removeprefix(FOLDER)
    return text if folder == text else FOLDER + _absolute(folder)


def _absolute(text: str) -> str:
    return str(Path(text).resolve())
