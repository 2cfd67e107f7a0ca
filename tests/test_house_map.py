"""`docs/house.svg`, the map in CONTRIBUTING.md, shows the house as it is."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_the_map_shows_every_file_and_folder_of_the_packages() -> None:
    script = runpy.run_path(str(DOCS / "house_map.py"))
    shown = re.findall(r">([a-z_]+)</text>", (DOCS / "house.svg").read_text())
    rooms = [room.partition(".")[2] for package in script["PACKAGES"] for room in script["house"](package)]
    assert sorted(shown) == sorted([*script["PACKAGES"], *rooms]), "draw it anew: python docs/house_map.py"
