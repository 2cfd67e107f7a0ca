"""Training recipes: YAML files with the hyperparameters of `nas.retrain`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from space.errors import UserError
from space.files import load_value
from space.registry import Value

RECIPE_SCHEMA = "recipe/1"
DEIT_POLICY = "rand-m9-mstd0.5-mmax9-inc1"
"""RandAugment as DeiT has it (https://arxiv.org/abs/2012.12877, table 9), in timm's terms."""

Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Recipe(Value):
    """How to train a network.

    Args:
        optimizer, ..., precision: as in `supernet.training.config.TrainConfig`; `lr` is that of this recipe's batch size.
        drop_path: stochastic depth of the last block.
        ema_decay: as there; the averaged weights are then the result.
        accumulate: as there; less memory, but batch norms see one part at a time.
        compile: whether to train through `torch.compile`.
        teacher: a network to learn from beside the labels, as `nas.retrain.teacher.open_teacher` reads it.
        teacher_weights: its weights, where it has none of its own.
        distillation: the target is the teacher's likeliest class (`hard`) or its probabilities (`soft`).
        distillation_weight: of the target; the labels have the rest.
        temperature: divides the logits in soft distillation.
        min_area: least part of an image's area that a crop keeps.
        mirror: whether to mirror half of the images, where the data allows it.
        auto_augment: a policy of timm's, such as `rand-m9-mstd0.5-mmax9-inc1`.
        erase: probability of erasing a rectangle.
        validation: share of the training part that is kept for validation.
    """

    epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: str = "adamw"
    lr: PositiveFloat
    weight_decay: NonNegative = 0.05
    warmup_epochs: NonNegative = 0.0
    clip_grad: PositiveFloat | None = None
    label_smoothing: Share = 0.1
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    mix_prob: Annotated[float, Field(ge=0, le=1)] = 1.0
    drop_path: Share = 0.0
    ema_decay: Share | None = None
    accumulate: PositiveInt = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    teacher: str | None = None
    teacher_weights: str | None = None
    distillation: Literal["hard", "soft"] = "hard"
    distillation_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    temperature: PositiveFloat = 3.0
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    mirror: bool = True
    color_jitter: Share = 0.0
    auto_augment: str | None = None
    erase: Share = 0.0
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.1

    @field_validator("auto_augment")
    @classmethod
    def _known_policy(cls, policy: str | None) -> str | None:
        if policy not in (None, DEIT_POLICY):
            # Imported here: it takes seconds, which plans with a usual recipe do not need.
            from timm.data import create_transform

            try:
                create_transform(32, is_training=True, auto_augment=policy)
            except (AssertionError, ValueError, KeyError, IndexError, TypeError):
                raise ValueError(f"got {policy!r}, expected a policy of timm's, such as {DEIT_POLICY}") from None
        return policy

    def adapted(self, epochs: int | None = None, batch_size: int | None = None, **others: object) -> Recipe:
        """The recipe with other values, where they are not None; warm-up and learning rate follow epochs and batch size in proportion.

        Raises:
            UserError: weights or a kind of distillation are given without a teacher.
        """
        changes = {name: value for name, value in others.items() if value is not None}
        if epochs is not None:
            changes |= {"epochs": epochs, "warmup_epochs": self.warmup_epochs * epochs / self.epochs}
        if batch_size is not None:
            changes = {"batch_size": batch_size, "lr": self.lr * batch_size / self.batch_size} | changes
        recipe = Recipe(**(self.model_dump() | changes))
        # A recipe may set the kind of distillation without a teacher; a user who sets it must name one.
        for name, value in {"teacher_weights": recipe.teacher_weights, "distillation": changes.get("distillation")}.items():
            if recipe.teacher is None and value is not None:
                raise UserError(f"{name}: got {value!r} and no teacher, expected --teacher as well")
        return recipe


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe from a file, or by the name of one that comes with the package."""
    if name_or_path in recipe_names():
        with resources.as_file(_folder() / f"{name_or_path}.yaml") as path:
            return load_value(Recipe, path, RECIPE_SCHEMA)
    if not Path(name_or_path).exists():
        raise UserError(f"recipe: got {name_or_path!r}, expected one of {', '.join(recipe_names())} or a YAML file")
    return load_value(Recipe, Path(name_or_path), RECIPE_SCHEMA)


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml")))


def _folder() -> resources.abc.Traversable:
    return resources.files("nas.retrain") / "recipes"
