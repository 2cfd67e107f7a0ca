"""Mutations of files: of their bytes, and of what they say."""

from __future__ import annotations

import copy
import datetime
import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import yaml

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 32, 33, 64, 97, 100, 128, 129, 1024, 4096, 8192, 100_000, 2**31, 2**63, 2**64, 10**30,
    0.0, -0.0, 0.5, 1e-320, 1e-6, 1e308, float("inf"), float("-inf"), float("nan"), "", " ", "~", "null", "none", "yes", "1", "0x10",
    "1:1:1", "x" * 5000, "../../x", "/etc/passwd", "..", "a\0b", "a\nb", "\x1b[31m", "\u202e", "é", "😀", "{}", "[]", "*a", "&a b",
    "!!int x", "%TAG", [], {}, [[]], [None], {"type": None}, {"type": []}, {"": ""}, {1: 2}, [1, 2, 3], list(range(3000)), b"\x00\xff",
    datetime.date(2026, 1, 1), "ssa", "window", "token_pyramid", "bn_conv_attention", "conv_downsample", "token_label_head",
    {"type": "bn_conv_attention", "key_dim": 1024, "value_ratio": 1024}, {"type": "ssa", "sr_ratio": 8}, {"type": "mlp", "ratio": [1, 32]},
    {"type": "window", "window_size": 64}, {"type": "patch_stem", "patch_size": 1},
    {"type": "token_pyramid", "widths": [1], "kernel_sizes": [[3]], "ratios": [[1]]},
)  # fmt: skip
"""What values are replaced by. Numbers at the edges of what is allowed are among them, so that large things are accepted, too."""
TOKENS = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"---\n", b"...\n", b"&a ", b"*a", b"<<: *a\n", b"!!timestamp x", b"!!bool x",
    b"!!python/object/apply:os.system [x]", b"!!int ''", b"!!binary x", b"!!set {a}", b"!!omap [a: b]", b"? ", b": ", b"- ", b"[", b"{",
    b"]", b"}", b"|\n", b">\n", b"'", b'"', b"%YAML 9.9\n", b"#", b"9" * 5000, b"0x" + b"f" * 5000, b"1" + b":1" * 400 + b".5", b"[" * 3000,
    b"{a: " * 1000, b"- " * 3000, b"\\ud800", "\u2028".encode(), "٣".encode(), b"-.inf", b".nan", b"=", b"~", b"2001-99-99", b"1e999", b"_",
)  # fmt: skip
"""What is put in among bytes."""


def mutated_bytes(rng: random.Random, content: bytes, others: tuple[bytes, ...]) -> bytes:
    """Some bytes changed, cut out, doubled, or put in."""
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((0, 1, 1, 4, 16, 200)))
        other = rng.choice(others)
        place = rng.randrange(len(other) + 1)
        put_in = rng.choice(
            (b"", content[start:end] * 2, rng.choice(TOKENS), rng.randbytes(end - start), other[place : place + 100], content[:start][-50:])
        )
        content = content[:start] + put_in + content[end:]
    return content


def mutated_value(rng: random.Random, value: Any) -> Any:
    """Something inside of lists and mappings taken away, doubled, exchanged, renamed, buried, or replaced."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        places = list(_places(value))
        if not places:
            return copy.deepcopy(rng.choice(NASTY))
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = copy.deepcopy(rng.choice(NASTY))
        elif kind == 2:
            other, other_key = rng.choice(places)
            # One object twice: YAML writes an alias. Never above itself, which none of the dumpers could write.
            if not isinstance(other[other_key], dict | list):
                holder[key] = other[other_key]
            elif not isinstance(holder[key], dict | list):
                holder[key] = copy.deepcopy(other[other_key])
        elif kind == 3 and isinstance(holder, dict):
            holder[rng.choice((*_keys(value), "", "x" * 300, 1, "type", "repeat"))] = holder.pop(key)
        elif kind == 4:
            for _ in range(rng.choice((1, 3, 60))):
                holder[key] = [holder[key]] if rng.random() < 0.5 else {"type": holder[key]}
        elif kind == 5 and isinstance(holder[key], list):
            holder[key] = holder[key] * rng.choice((2, 3, 50))
        elif kind == 6 and isinstance(holder[key], int | float):
            old = holder[key]
            holder[key] = rng.choice((old - 1, old + 1, -old, old * 2, old * 1000, old / 2, str(old)))
        elif isinstance(holder, list):
            rng.shuffle(holder)
    return value


def mutated_yaml(rng: random.Random, content: bytes, others: tuple[bytes, ...]) -> bytes:
    """A YAML file with another content, or with other bytes."""
    if rng.random() < 0.4:
        return mutated_bytes(rng, content, others)
    try:
        text = yaml.safe_dump(mutated_value(rng, yaml.safe_load(content)), sort_keys=False, allow_unicode=rng.random() < 0.5)
    except yaml.YAMLError:
        return content
    return text.encode("utf-8", "replace")


def mutated_safetensors(rng: random.Random, content: bytes, others: tuple[bytes, ...]) -> bytes:
    """A safetensors file with another header, or with other bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    header, body = content[8 : 8 + length], content[8 + length :]
    kind = rng.random()
    if kind < 0.2:
        return mutated_bytes(rng, content, others)
    if kind < 0.4:
        header = mutated_bytes(rng, header, others)
    elif kind < 0.6:
        # The facts are JSON in JSON.
        fields = json.loads(header)
        facts = json.dumps(mutated_value(rng, json.loads(fields["__metadata__"]["facts"])), default=str)
        damaged = mutated_bytes(rng, facts.encode(), others).decode("utf-8", "replace")
        fields["__metadata__"]["facts"] = rng.choice((facts, damaged, "[" * 100_000))
        header = json.dumps(fields).encode("utf-8", "replace")
    else:
        header = json.dumps(mutated_value(rng, json.loads(header)), default=str).encode("utf-8", "replace")
    length = rng.choice((len(header),) * 6 + (0, 2**63, len(header) - 1, len(header) + 7))
    return struct.pack("<Q", length) + header + body[: rng.choice((len(body),) * 6 + (0, len(body) // 2))]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list and mapping inside, with each of its indices and keys."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(children):
        yield value, key
        if not isinstance(child, list) or len(child) < 200:
            yield from _places(child)


def _keys(value: Any) -> list[Any]:
    return [key for holder, key in _places(value) if isinstance(holder, dict)]
