"""The lowest versions that are tested are those that setup.cfg states."""

import configparser
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def test_lower_ends_are_those_of_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    stated = {}
    for line in setup["options"]["install_requires"].split():
        name, lowest = re.match(r"([\w-]+)>=([\d.]+),<", line).groups()
        stated[name] = lowest
    text = (ROOT / "constraints" / "lower.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, re.MULTILINE))
    assert pinned.keys() == stated.keys()
    for name, lowest in stated.items():
        # 2.0 is pinned as 2.0.0, 13 as 13.0.0.
        parts = [*lowest.split("."), "0", "0"][:3]
        assert pinned[name] == ".".join(parts), name
