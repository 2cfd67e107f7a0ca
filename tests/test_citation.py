"""`CITATION.cff` names this project as `pyproject.toml` does, and the papers of all the networks that come along."""

from __future__ import annotations

import tomllib

import yaml

from nas import __version__
from space.files import load_published, parent_names
from tests.commands import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PERSON, ENTITY = {"given-names", "family-names"}, {"name"}


def test_it_names_this_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["cff-version"] == "1.2.0"
    assert (CITATION["title"], CITATION["version"], CITATION["license"]) == (project["name"], __version__, project["license"])
    assert CITATION["message"]
    assert CITATION["authors"]


def test_it_names_the_papers_of_the_published_networks_and_no_others() -> None:
    papers = {published.paper for name in parent_names() if (published := load_published(name))}
    assert len(papers) == 5
    assert {reference["url"] for reference in CITATION["references"]} == papers
    for reference in CITATION["references"]:
        assert {"type", "title", "authors", "year"} <= reference.keys()
        assert reference["identifiers"] == [{"type": "other", "value": f"arXiv:{reference['url'].rpartition('/')[2]}"}]
        assert all(author.keys() in (PERSON, ENTITY) for author in reference["authors"])
