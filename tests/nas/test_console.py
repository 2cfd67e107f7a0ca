"""On a terminal sentences are broken between words, and commands so that they can be copied; files have whole lines."""

from __future__ import annotations

import shlex
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli.console import open_console, print_command

WORDS = st.lists(st.text("abcdefgh/.-'\" ", min_size=1, max_size=30), min_size=1, max_size=20)


def shown(what: object, width: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal of a width shows, or a file."""
    if width is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    console = open_console()
    console.file, console.no_color = StringIO(), True
    if width is not None:
        console.width = width
    if isinstance(what, list):
        print_command(console, what)
    else:
        console.print(what, soft_wrap=True, highlight=False)
    return console.file.getvalue().splitlines()


SENTENCE = (
    "The log-likelihood with the supernet's weights ranks architectures. Accuracy beside it is no test accuracy. The best is also lucky."
)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_terminal_shows_whole_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(f"first\n  {SENTENCE}", width, monkeypatch)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == f"first {SENTENCE}"
    assert all(line.startswith("  ") for line in lines[1:])


def test_a_path_that_is_longer_than_a_line_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/a" * 60
    assert path in shown(f"report: {path} is there", 80, monkeypatch)


def test_a_file_has_the_whole_sentence_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(SENTENCE, None, monkeypatch) == [SENTENCE]


@settings(max_examples=30)
@given(words=WORDS, width=st.integers(30, 120))
def test_a_command_can_be_copied(words: list[str], width: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = shown(words, width, monkeypatch)
        # The shell drops a backslash with the end of its line.
        assert shlex.split("\n".join(lines).replace(" \\\n", " ")) == words
        assert shown(words, None, monkeypatch) == [f"  {shlex.join(words)}"]
