"""Runs what the pages of `docs/` show, as a reader would: page by page, in order."""

import argparse
import configparser
import pathlib
import re
import runpy
import shlex
import sys

import pytest

from keras_meta import cli
from tests.forked import forked

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
RUN, READ = "python", "sh"
# It sets TensorFlow's threads, which only a process that has just begun can do.
OWN_PROCESS = ("speed.md",)


def blocks(path, language):
    """Returns `(line, text)` of a page's blocks of a language, without indentation."""
    page = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(page):
        if match["language"] == language:
            lines = match["text"].splitlines(keepends=True)
            text = "".join(line.removeprefix(match["indent"]) for line in lines)
            found.append((page[: match.start("text")].count("\n"), text))
    return found


def name(path):
    return path.relative_to(ROOT / "docs").as_posix()


RUNNABLE = [path for path in PAGES if blocks(path, RUN)]
COMMANDS = [
    pytest.param(line.strip(), id=f"{name(path)}: {line.strip()}")
    for path in PAGES
    for _, text in blocks(path, READ)
    for line in text.splitlines()
    if line.strip()
]


def test_pages_hold_python_and_shell_blocks_alone():
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        languages = {match["language"] for match in FENCE.finditer(page)}
        assert languages <= {RUN, READ}, name(path)
        assert page.count("```") == 2 * len(FENCE.findall(page)), name(path)
    assert len(RUNNABLE) >= 8


@pytest.mark.usefixtures("quick_trials")
@pytest.mark.parametrize("path", RUNNABLE, ids=name)
def test_page_runs_as_it_stands(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Empty lines before a block: a traceback names the page's own line.
    programs = ["\n" * line + text for line, text in blocks(path, RUN)]
    if name(path) in OWN_PROCESS:
        for program in programs:
            status, printed = forked(exec, program, {"__name__": "__main__"})
            assert status == 0, printed
        return
    namespace = {"__name__": "__main__"}
    for program in programs:
        exec(compile(program, str(path), "exec"), namespace)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command):
    words = shlex.split(command, comments=True)
    check = {"keras-meta": check_keras_meta, "make": check_make, "pip": check_pip}
    check[words[0]](words[1:])


def check_keras_meta(arguments):
    try:
        parsed = cli._parser().parse_args(arguments)
    except SystemExit as error:
        pytest.fail(f"keras-meta does not take {arguments}: {error}")
    assert isinstance(parsed, argparse.Namespace)


def check_make(targets):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def check_pip(arguments):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    command, package = arguments
    assert command == "install"
    wanted, _, extra = package.partition("[")
    assert wanted in (".", "keras_meta")
    assert not extra or extra.rstrip("]") in config["options.extras_require"]


def test_files_that_pages_name_exist():
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        for file in re.findall(r"`((?:examples|benchmarks)/[^`\s]*)`", page):
            assert (ROOT / file).exists(), f"{name(path)} names {file}"


def test_tables_are_those_of_the_recorded_results(monkeypatch):
    program = ROOT / "benchmarks" / "make_tables.py"
    monkeypatch.syspath_prepend(program.parent)
    monkeypatch.setattr(sys, "argv", [str(program), "--check"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(program), run_name="__main__")
    assert not end.value.code, end.value


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(map(name, PAGES))
