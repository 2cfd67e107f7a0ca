"""Registries: what an architecture can be built of, by name.

An operator is one class. Its constructor's keyword-only parameters are the options that YAML may set, so a new
operator is declared once:

    @MIXERS.register("ssa", paper="https://arxiv.org/abs/2111.15193")
    class ShuntedSelfAttention(nn.Module):
        def __init__(self, dim: int, *, sr_ratio: Literal[1, 2, 4, 8], head_dim: int = 32) -> None: ...

`Spec` is the value of such a choice, for example `{type: ssa, sr_ratio: 4}`. Two static methods of the class are
optional: `check(dim, height, width, **options)` raises ValueError where the operator cannot run, and
`out_size(height, width, **options)` returns the size of its output map.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, create_model, model_validator

from space.errors import SpaceError, explain, invalid

Class = TypeVar("Class", bound=type)


class Value(BaseModel):
    """A frozen value that compares by its fields and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: object) -> object:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    expected = ", ".join(known for known in cls.model_fields if known != "type") or "no other key than type"
                    raise invalid(f"unknown key {key!r:.60}; expected {expected}")
        return data

    def replace(self, **changes: Any) -> Self:
        """The same value with other fields, checked again; SpaceError names an invalid field."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self)(**fields | changes)
        except ValidationError as error:
            raise explain(error, str(fields.get("name", type(self).__name__))) from None


class Spec(Value):
    """One operator and its options; `type` is its name in the registry.

    Every operator has a class of its own, which says what its registration said: `registry`, `factory` (the torch module's class),
    `paper`, `traits` and the names of its `elastic` options.
    """

    registry: ClassVar[Registry]
    factory: ClassVar[Any]
    paper: ClassVar[str]
    traits: ClassVar[Mapping[str, Any]]
    elastic: ClassVar[frozenset[str]]
    type: str

    @property
    def options(self) -> dict[str, Any]:
        """All options by name, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type"}

    @cached_property
    def label(self) -> str:
        """A readable name, unique among the values of a registry: `ssa(sr_ratio=4)`."""
        return self._labelled(set())

    @cached_property
    def operator(self) -> str:
        """The label without elastic options. Operators that share weights have the same one."""
        return self._labelled(self.elastic)

    def _labelled(self, left_out: Collection[str]) -> str:
        fields = type(self).model_fields
        chosen = {k: v for k, v in self.options.items() if v != fields[k].default and k not in left_out}
        inside = ", ".join(f"{k}={v.label if isinstance(v, Spec) else v}" for k, v in chosen.items())
        return f"{self.type}({inside})" if inside else self.type

    def build(self, *args: Any) -> Any:
        """Build the torch module; `args` are its positional parameters, such as the width."""
        return self.factory(*args, **self.options)

    def check(self, *args: Any) -> None:
        """Raise ValueError where the operator cannot run; `args` are its widths, then height and width of the map."""
        if hasattr(self.factory, "check"):
            self.factory.check(*args, **self.options)

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the map that this operator returns for a map of this height and width."""
        if hasattr(self.factory, "out_size"):
            return self.factory.out_size(height, width, **self.options)
        return height, width

    def to_yaml(self) -> str | dict[str, Any]:
        """YAML that reads back as this value. Every option is written: a file stays the same network when a default changes."""
        options = {k: v.to_yaml() if isinstance(v, Spec) else v for k, v in self.options.items() if v is not None}
        return {"type": self.type, **options} if options else self.type

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes of specs are made at run time, so pickle cannot import them.
        return self.registry.unpickle, (self.registry.kind, self.type, self.options)


class Registry:
    """The operators of one kind.

    Args:
        package: the module that registers them; it is imported on first use.
        unpickle: a function of a module, which makes a spec of kind, type and options: pickle finds it by its name.
    """

    def __init__(self, kind: str, package: str, unpickle: Callable[[str, str, dict[str, Any]], Spec]) -> None:
        self.kind = kind
        self.unpickle = unpickle
        self._package = package
        self._specs: dict[str, type[Spec]] = {}

    def register(self, name: str, *, paper: str = "", elastic: tuple[str, ...] = (), **traits: Any) -> Callable[[Class], Class]:
        """Register a class under `name`.

        Args:
            paper: where the operator comes from.
            elastic: options that only change sizes of tensors; the supernet shares weights across them.
            traits: further facts that the kind asks for, such as a mixer's native `norm`.
        """

        def decorate(factory: Class) -> Class:
            if name in self._specs:
                raise SpaceError(f"{self.kind}: {name!r} is registered already")
            fields = {"type": (Literal[name], name)} | _options_of(factory)
            spec = create_model(factory.__name__ + "Spec", __base__=Spec, **fields)
            spec.registry, spec.factory, spec.paper, spec.traits, spec.elastic = self, factory, paper, traits, frozenset(elastic)
            self._specs[name] = spec
            return factory

        return decorate

    def unregister(self, name: str) -> None:
        """Forget an operator, for example one that a test added."""
        del self._specs[name]

    def names(self) -> tuple[str, ...]:
        """All registered names, in order of registration."""
        importlib.import_module(self._package)
        return tuple(self._specs)

    def spec(self, name: str) -> type[Spec]:
        """The class of specs of an operator; SpaceError lists the known names."""
        if name not in self.names():
            raise SpaceError(f"{self.kind}: got {name!r:.60}, expected one of {', '.join(self.names())}")
        return self._specs[name]

    def parse(self, value: object) -> Spec:
        """Read a spec: a `Spec` itself, a mapping with `type`, or just the name where every option has a default."""
        if isinstance(value, Spec):
            if self._specs.get(value.type) is type(value):
                return value
            value = {"type": value.type, **value.options}
        if isinstance(value, str):
            value = {"type": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
            raise invalid(f"got {value!r:.60}, expected a mapping with the key 'type', one of {', '.join(self.names())}")
        try:
            return self.spec(value["type"]).model_validate(dict(value))
        except SpaceError as error:
            raise invalid(str(error).removeprefix(f"{self.kind}: ")) from None

    def __call__(self, type: str, **options: Any) -> Spec:
        """Make a spec in code: `MIXERS("ssa", sr_ratio=4)`; SpaceError for options that it does not take."""
        try:
            return self.spec(type)(type=type, **options)
        except ValidationError as error:
            raise explain(error, f"{self.kind}: {type}") from None

    def annotations(self) -> tuple[BeforeValidator, PlainSerializer]:
        """Pydantic metadata: a field annotated with these reads and writes specs of this registry."""
        return BeforeValidator(self.parse), PlainSerializer(lambda spec: spec.to_yaml())


def _options_of(factory: Any) -> dict[str, Any]:
    """The keyword-only parameters of a class, as pydantic reads fields: name -> (type, default)."""
    hints = get_type_hints(factory.__init__, include_extras=True)
    parameters = inspect.signature(factory.__init__).parameters.values()
    return {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default)
        for p in parameters
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
