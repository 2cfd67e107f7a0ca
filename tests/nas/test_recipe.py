"""Recipes of retrainings: those of the package, and mistakes in one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from timm.data import create_transform
from timm.data.auto_augment import RandAugment

from nas.retrain.recipe import DEIT_POLICY, load_recipe, recipe_names
from space.errors import UserError

RIGHT = ("schema: recipe/1", "epochs: 3", "batch_size: 6", "lr: 3.0e-3", "mix_prob: 0.5", "auto_augment: rand-m5-n1")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_that_come_with_the_package(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.num_steps(1000) > recipe.num_warmup_steps(1000)
    assert recipe.adapted() == recipe
    half = recipe.adapted(10_000, recipe.batch_size // 2)
    share = recipe.num_warmup_steps(1000) / recipe.num_steps(1000)
    assert half.num_warmup_steps(1000) / half.num_steps(1000) == pytest.approx(share, rel=1e-3)
    assert half.lr == recipe.lr / 2
    if recipe.schedule == "step":
        assert half.decay_epochs / 10_000 == pytest.approx(recipe.decay_epochs / (recipe.epochs or 0))
    assert recipe.adapted(batch_size=recipe.batch_size // 2, lr=0.5).lr == 0.5


def test_the_policy_that_is_not_checked_is_one_of_timms() -> None:
    steps = create_transform(32, is_training=True, auto_augment=DEIT_POLICY).transforms
    assert any(isinstance(step, RandAugment) for step in steps)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("epoch: 3", "unknown key 'epoch'"),
        ("lr: fast", "lr: got 'fast', expected"),
        ("mix_prob: 2.0", "mix_prob: got 2.0, expected"),
        ("auto_augment: wild-m9", "auto_augment: got 'wild-m9', expected a policy of timm's"),
        ("decay_rate: 0.5", "got decay_epochs or decay_rate with the schedule cosine, expected them with step alone"),
    ],
)
def test_a_mistake_in_a_recipe_has_an_address(tmp_path: Path, line: str, said: str) -> None:
    key = line.split(":")[0]
    kept = [old for old in RIGHT if not old.startswith(f"{key}:")]
    (tmp_path / "mine.yaml").write_text("\n".join([*kept, line]))
    with pytest.raises(UserError) as caught:
        load_recipe(str(tmp_path / "mine.yaml"))
    assert said in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
