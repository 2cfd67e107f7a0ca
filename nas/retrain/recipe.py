"""Training recipes: YAML files with the hyperparameters of `nas.retrain`."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from space.errors import UserError
from space.files import load_value
from space.registry import Value
from supernet.tasks.task import TASKS, Task

RECIPE_SCHEMA = "recipe/1"
DEIT_POLICY = "rand-m9-mstd0.5-mmax9-inc1"
"""RandAugment as DeiT has it (https://arxiv.org/abs/2012.12877, table 9), in timm's terms."""

Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Recipe(Value):
    """How to train a network.

    Args:
        epochs: times that all images are seen; or else
        steps: updates of the weights, with `warmup_steps` in place of `warmup_epochs`.
        optimizer, ..., precision: as in `supernet.training.config.TrainConfig`; `lr` is that of this recipe's batch size.
        decay_epochs: length of a stair of the schedule `step`; it may end within an epoch.
        dropout: share of the classifier's inputs that are dropped.
        layer_decay: factor of the learning rate from each block to the one before it; 1 trains all alike.
        drop_path: stochastic depth of the last block.
        ema_decay: as there; the averaged weights are then the result.
        accumulate: as there; less memory, but batch norms see one part at a time.
        teacher: a network to learn from beside the labels, as `nas.retrain.teacher.open_teacher` reads it.
        teacher_weights: its weights, where it has none of its own.
        distillation: the target is the teacher's likeliest class (`hard`) or its probabilities (`soft`).
        distillation_weight: of the target; the labels have the rest.
        temperature: divides the logits in soft distillation.
        min_area: least part of an image's area that a crop keeps; of images with classes alone.
        scales: least and greatest factor by which images with masks are scaled; of these alone.
        mirror: whether to mirror half of the images, where the data allows it.
        auto_augment: a policy of timm's, such as `rand-m9-mstd0.5-mmax9-inc1`.
        erase: probability of erasing a rectangle.
        validation: share of the training part that is kept for validation.
    """

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: str = "adamw"
    optimizer_eps: PositiveFloat | None = None
    lr: PositiveFloat
    weight_decay: NonNegative = 0.05
    schedule: Literal["cosine", "poly", "step"] = "cosine"
    decay_epochs: PositiveFloat = 1.0
    decay_rate: Annotated[float, Field(gt=0, lt=1)] = 0.97
    head_lr: PositiveFloat = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_all: bool = False
    warmup_epochs: NonNegative = 0.0
    warmup_steps: NonNegativeInt = 0
    clip_grad: PositiveFloat | None = None
    label_smoothing: Share = 0.1
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    mix_prob: Annotated[float, Field(ge=0, le=1)] = 1.0
    dropout: Share = 0.0
    drop_path: Share = 0.0
    ema_decay: Share | None = None
    accumulate: PositiveInt = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    teacher: str | None = None
    teacher_weights: str | None = None
    distillation: Literal["hard", "soft"] = "hard"
    distillation_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    temperature: PositiveFloat = 3.0
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    scales: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    mirror: bool = True
    color_jitter: Share = 0.0
    auto_augment: str | None = None
    erase: Share = 0.0
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.1

    @field_validator("scales", mode="before")
    @classmethod
    def _pair(cls, scales: Any) -> Any:
        return tuple(scales) if isinstance(scales, list) else scales

    @model_validator(mode="after")
    def _has_one_length(self) -> Recipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("got both or none of epochs and steps, expected one of them")
        if (self.warmup_steps and self.steps is None) or (self.warmup_epochs and self.epochs is None):
            raise ValueError("expected the warm-up in epochs beside epochs, in steps beside steps")
        if self.schedule != "step" and self.model_fields_set & {"decay_epochs", "decay_rate"}:
            raise ValueError(f"got decay_epochs or decay_rate with the schedule {self.schedule}, expected them with step alone")
        return self

    @property
    def length(self) -> str:
        """How long it trains, in words."""
        return f"{self.epochs} epochs" if self.epochs is not None else f"{self.steps} steps"

    def num_steps(self, steps_per_epoch: int) -> int:
        """Updates of the weights in all."""
        return self.epochs * steps_per_epoch if self.epochs is not None else self.steps or 0

    def num_warmup_steps(self, steps_per_epoch: int) -> int:
        """Updates over which the learning rate rises."""
        return round(self.warmup_epochs * steps_per_epoch) if self.epochs is not None else self.warmup_steps

    def check_task(self, task: Task) -> None:
        """UserError where the recipe sets what has no effect on a task's images."""
        if not task.per_image and (self.mixup or self.cutmix):
            raise UserError(f"recipe: got mixup {self.mixup:g} and cutmix {self.cutmix:g}, expected none for {task.name}, such as "
                            f"--recipe {task.recipe}")  # fmt: skip
        own = {each.name for each in fields(task.augmentation)}
        names = {each.name for other in TASKS.values() for each in fields(other.augmentation)} - own
        for name in sorted(names & self.model_fields_set):
            raise UserError(f"recipe: {name}: has no effect on images for {task.name}; leave it out, or use --recipe {task.recipe}")
        if self.teacher is not None and not task.per_image:
            raise UserError(f"teacher: got {self.teacher!r:.80}, expected none: teachers give one answer an image, not for {task.name}")

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
        """The recipe with other values, where they are not None.

        Warm-up and stairs follow the epochs in proportion, and the learning rate the batch size.

        Raises:
            UserError: weights or a kind of distillation are given without a teacher.
        """
        changes = {name: value for name, value in others.items() if value is not None}
        if epochs is not None:
            share = self.warmup_epochs / self.epochs if self.epochs is not None else self.warmup_steps / (self.steps or 1)
            changes |= {"epochs": epochs, "warmup_epochs": share * epochs, "steps": None, "warmup_steps": 0}
            if self.schedule == "step" and self.epochs is not None:
                changes["decay_epochs"] = self.decay_epochs * epochs / self.epochs
        if batch_size is not None:
            changes = {"batch_size": batch_size, "lr": self.lr * batch_size / self.batch_size} | changes
        recipe = Recipe(**(self.model_dump(exclude_unset=True) | changes))
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
