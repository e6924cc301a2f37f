"""keras_meta in fresh environments: at both ends of its ranges, and as a wheel.

    nox -s wheel             # build, check, install the wheel elsewhere, smoke suite
    nox -s lower             # smoke suite and tests with the oldest versions
    nox -s lower -- --smoke  # the smoke suite alone, a minute after the installation
    nox -s upper             # as lower, with the newest versions; CI's are these

`--force-python 3.10` takes another Python. The oldest versions are named in
`constraints/lower.txt`; the newest are what pip finds in the ranges of `setup.cfg`.
"""

import pathlib
import shutil

import nox

ROOT = pathlib.Path(__file__).parent
DIST = ROOT / "dist"
# Nothing of the checkout may be imported in place of what was installed.
CLEAN = {"PYTHONPATH": None, "TF_CPP_MIN_LOG_LEVEL": "2"}

nox.options.sessions = ["wheel"]


@nox.session
def lower(session):
    """Smoke suite and tests with the oldest version of each dependency."""
    _run_tests(session, "--constraint", "constraints/lower.txt")


@nox.session
def upper(session):
    """Smoke suite and tests with the newest version of each dependency."""
    _run_tests(session, "--upgrade", "--upgrade-strategy", "eager")


@nox.session
def build(session):
    """Builds sdist and wheel into dist/, the wheel from the sdist; checks both."""
    session.install("build>=1.2", "twine>=6")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, sorted(DIST.iterdir())))


@nox.session(requires=["build"])
def wheel(session):
    """Installs the wheel, and nothing else, and runs its smoke suite elsewhere."""
    [built] = DIST.glob("*.whl")
    session.install(str(built))
    _run_smoke_suite(session)


def _run_tests(session, *pip_arguments):
    smoke_only = session.posargs == ["--smoke"]
    session.install(*pip_arguments, "." if smoke_only else ".[dev]")
    session.run("python", "-m", "pip", "list")
    _run_smoke_suite(session)
    if not smoke_only:
        session.run("python", "-m", "pytest", *session.posargs)


def _run_smoke_suite(session):
    with session.chdir(session.create_tmp()):
        session.run("python", "-m", "keras_meta.testing", env=CLEAN)
