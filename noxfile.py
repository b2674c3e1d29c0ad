"""The project's chores: `scripts/nox --list` tells them; `scripts/test` and `scripts/demo` are the ones to begin with.

All of them run in one environment, `.venv`, which uv keeps as requirements/dev.txt says: TensorFlow is too large for an
environment each. What differs from it, an older Spark or PyTorch, is put before it on the Python path.
"""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nox
from nox.command import CommandFailed
from nox.project import load_toml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent
LOCK = "requirements/dev.txt"
OTHERS = ROOT / ".venvs"
PROJECT = load_toml(ROOT / "pyproject.toml")

OLDER_SPARKS = ["3.5.9", "4.0.5", "4.2.1"]
# With the oldest Spark goes the oldest Keras.
OLDEST_KERAS = re.search(r"\bkeras>=([\d.]+)", " ".join(PROJECT["project"]["dependencies"]))[1]
PYTORCH_PINS = "requirements/pytorch.txt"
PYTORCH = re.search(r"^torch==.*$", (ROOT / PYTORCH_PINS).read_text(), re.MULTILINE)[0].replace("==", "")
INSTALLER = concurrent.futures.ThreadPoolExecutor(max_workers=1)

# Two processes, each with a Spark session of its own, so that one computes while the other waits for a session or a
# process to start: the groups of conftest.py in their order, which keeps changes of the kind of session rare.
IN_PARALLEL = ["--numprocesses", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
UNIT = ["tests/unit", "--numprocesses", "2", "--dist", "worksteal"]
MISSING = {
    "java": "Spark needs Java 17 or newer, and none was found in JAVA_HOME, on the PATH or in /usr/lib/jvm. Install one"
    " (on Debian or Ubuntu: sudo scripts/system-packages java; on macOS: brew install openjdk@17) and run it again",
    "browser": "The tests of pages need Chromium or Chrome, and none was found in CHROMIUM or on the PATH. Install one"
    " (on Debian: sudo scripts/system-packages browser; on macOS: brew install --cask google-chrome) and run it again",
}

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["others", "lint", "tests", "older_spark", "jax", "pytorch"]

# Another Spark or another Python path would win over what is installed here.
for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS", "PYTHONPATH", "PYTHONHOME"):
    os.environ.pop(name, None)
os.environ["VIRTUAL_ENV"] = sys.prefix
os.environ["PATH"] = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"]])
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ["PYTHONUNBUFFERED"] = "1"
for name, value in {
    "KERAS_BACKEND": "tensorflow",
    # Everything runs on this machine, so Spark need not ask what the host name resolves to.
    "SPARK_LOCAL_IP": "127.0.0.1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "UV_HTTP_TIMEOUT": "180",
}.items():
    os.environ.setdefault(name, value)


@nox.session
def lint(session: nox.Session) -> None:
    """Checks rules, layout and types of the Python files, directions of imports, and that the lock file fits."""
    prepare(session)
    commands = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]]
    commands.append(["python", "scripts/write_params.py", "--check"])
    failed = failures(session, commands)
    if unlocked := requirements_that_the_lock_does_not_meet():
        session.warn(f"{LOCK} does not meet {', '.join(unlocked)}; run scripts/nox --session lock")
        failed.append("the lock file")
    if failed:
        session.error(f"Failed: {', '.join(failed)}")


@nox.session
def unit(session: nox.Session) -> None:
    """Runs the tests that need no Spark. [-- arguments of pytest]"""
    prepare(session)
    # Two processes stay below a minute, and coverage would not.
    session.run("python", "-m", "pytest", *(["tests/unit", *session.posargs] if session.posargs else UNIT))


@nox.session
def others(session: nox.Session) -> None:
    """Begins to install the older Sparks and PyTorch, behind the sessions that follow."""
    prepare(session)
    for name in [*OLDER_SPARKS, PYTORCH]:
        if name != version("pyspark"):
            begin_to_install(name)


@nox.session
def tests(session: nox.Session) -> None:
    """Runs all tests on the newest supported Spark; tells what tests/unit covers. [-- [--quick] arguments of pytest]"""
    prepare(session, "java", "browser")
    if session.posargs:
        arguments = [argument for argument in session.posargs if argument != "--quick"]
        quick = ["-m", "not slow"] if "--quick" in session.posargs else []
        session.run("python", "-m", "pytest", *quick, *(arguments or IN_PARALLEL))
        return
    # Coverage takes a third of the time once more, so that it is counted where the others need not wait for it.
    steps = [[*UNIT, "--cov", "--cov-report", ""], ["--ignore", "tests/unit", *IN_PARALLEL]]
    commands = [["python", "-m", "pytest", *arguments] for arguments in steps]
    failed = failures(session, commands, env=java_classes(session))
    share = output_of("python", "-m", "coverage", "report", "--format", "total").strip()
    session.log(f"tests/unit covers {share} % of the lines; `python -m coverage report` tells those left out")
    if failed:
        session.error(f"Failed: {', '.join(failed)}")


@nox.session
@nox.parametrize("spark", OLDER_SPARKS)
def older_spark(session: nox.Session, spark: str) -> None:
    """Runs the tests marked `compat` on an older Spark; on the oldest those marked `oldest`, too."""
    prepare(session, "java", "browser")
    if spark == version("pyspark"):
        session.skip("It is the newest Spark for this Python.")
    folder = installed(spark)
    environment = {"PYTHONPATH": str(folder), "SPARK_HOME": str(folder / "pyspark")}
    # What asks for no version of Spark, such as the steps of preparation, is tested on the oldest and the newest one.
    marked = "compat or oldest" if spark == OLDER_SPARKS[0] else "compat"
    folders = ["tests/long", "tests/spark"]
    session.run("python", "-m", "pytest", *folders, "-m", marked, *IN_PARALLEL, *session.posargs, env=environment)


@nox.session
def jax(session: nox.Session) -> None:
    """Runs the tests of rounds, fits and transform that each backend must pass on JAX, and those of JAX alone."""
    prepare(session, "java")
    run_on_backend(session, "jax", [], "tests/jax_checks.py")


@nox.session
def pytorch(session: nox.Session) -> None:
    """Runs the tests of rounds, fits and transform that each backend must pass on PyTorch."""
    prepare(session, "java")
    run_on_backend(session, "torch", [installed(PYTORCH)])


def run_on_backend(session: nox.Session, backend: str, path: list[Path], *tests: str) -> None:
    """Runs what each backend must pass, and the tests, where TensorFlow cannot be imported."""
    before = os.pathsep.join(map(str, [ROOT / "tests/without_tensorflow", *path]))
    environment = {"KERAS_BACKEND": backend, "PYTHONPATH": before} | java_classes(session)
    arguments = ["@tests/on_each_backend.txt", *tests, *IN_PARALLEL, *session.posargs]
    session.run("python", "-m", "pytest", *arguments, env=environment)


@nox.session
def demo(session: nox.Session) -> None:
    """Trains a model on flight delays with Spark on this machine. [-- arguments of examples/flights_delay.py]"""
    prepare(session, "java")
    session.run("python", "examples/flights_delay.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Writes docs/params.md from the Params of the public classes, and builds the site in build/site. [-- --check]"""
    prepare(session, "java")
    session.run("python", "scripts/write_params.py", *session.posargs)
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def screenshots(session: nox.Session) -> None:
    """Takes the pictures of pages in docs/. [-- arguments; --help tells them]"""
    prepare(session, "java", "browser")
    session.run("python", "scripts/take_screenshots.py", *session.posargs)


@nox.session
def benchmark(session: nox.Session) -> None:
    """Measures what the documentation claims; writes docs/benchmarks.md. [-- arguments; --help tells them]"""
    prepare(session, "java")
    session.run("python", "-m", "benchmarks.run", *session.posargs, env={"PYTHONPATH": "scripts"})


@nox.session
def accuracy(session: nox.Session) -> None:
    """Measures what many workers do to accuracy; writes docs/many-workers.md. [-- arguments; --help tells them]"""
    prepare(session)
    session.run("python", "-m", "many_workers.run", *session.posargs, env={"PYTHONPATH": "scripts"})


@nox.session
def reliability(session: nox.Session) -> None:
    """Kills workers and drivers; writes docs/reliability.md. [-- arguments; --help tells them]"""
    prepare(session, "java")
    session.run("python", "-m", "faults.run", *session.posargs, env={"PYTHONPATH": "scripts"})


@nox.session
def lock(session: nox.Session) -> None:
    """Renews the lock file after a change of pyproject.toml. [-- --upgrade, or --upgrade-package NAME]"""
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--all-extras"),
        *("--python-version", PROJECT["project"]["requires-python"].removeprefix(">=")),
        *("--no-annotate", "--no-emit-index-url", "--custom-compile-command", "scripts/nox --session lock"),
        *("--output-file", LOCK, *session.posargs),
    )


def failures(session: nox.Session, commands: list[list[str]], env: dict[str, str] | None = None) -> list[str]:
    """Runs all commands, also behind one that fails, and gives those that failed."""
    failed = []
    for command in commands:
        try:
            session.run(*command, env=env)
        except CommandFailed:
            failed.append(" ".join(command))
    return failed


def prepare(session: nox.Session, *programs: str) -> None:
    """Makes `.venv` what the lock file says, and finds or installs the programs: "java", "browser"."""
    if Path(sys.prefix) != ROOT / ".venv":
        session.error(f"This would change {sys.prefix}. Run scripts/nox, which has an environment of its own in .venv")
    session.log(f"Making .venv what {LOCK} says (3 GB; takes minutes the first time)")
    session.run(
        "uv", "pip", "install", "--quiet", "--exact", "--no-deps", "--requirement", LOCK, "--editable", ".", log=False
    )
    for program in programs:
        find = {"java": find_java, "browser": find_browser}[program]
        if not find() and os.geteuid() == 0 and shutil.which("apt-get"):
            session.run("scripts/system-packages", program, success_codes=range(256))
        if not find():
            session.error(MISSING[program])


def find_java() -> bool:
    """Sets JAVA_HOME to a Java that runs the supported Sparks, where there is one."""
    candidates = [Path(os.environ["JAVA_HOME"], "bin/java")] if "JAVA_HOME" in os.environ else []
    homes = {}
    for candidate in [*candidates, Path("java"), *Path("/usr/lib/jvm").glob("*/bin/java")]:
        told = output_of(candidate, "-XshowSettings:properties", "-version")
        home = re.search(r"^ *java\.home = (.*)$", told, re.MULTILINE)
        release = re.search(r"^ *java\.specification\.version = (\d+)$", told, re.MULTILINE)
        if home and release and int(release[1]) >= 17:
            homes.setdefault(int(release[1]) > 21, home[1])
    # The older Sparks start on no Java newer than 21; a newer one is better than none.
    if homes:
        os.environ["JAVA_HOME"] = homes[min(homes)]
    return bool(homes)


def find_browser() -> bool:
    """Sets CHROMIUM to a browser that runs, where there is one."""
    candidates = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
    candidates += ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
    candidates += ["/Applications/Chromium.app/Contents/MacOS/Chromium"]
    for candidate in [os.environ.get("CHROMIUM", ""), *candidates]:
        # Run and not only looked up: some systems have a command that only tells how to install one.
        if (found := shutil.which(candidate)) and output_of(found, "--version"):
            os.environ["CHROMIUM"] = found
            return True
    return False


def output_of(*command: str | Path) -> str:
    """What the command prints; nothing where it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


@functools.cache
def begin_to_install(name: str) -> concurrent.futures.Future[Path]:
    """Begins to install an older Spark or PyTorch into a folder below .venvs, one behind the other."""
    if name == PYTORCH:
        # With pip, which also knows of wheels on this machine: PyTorch is large.
        folder, command = OTHERS / PYTORCH, ["python", "-m", "pip", "install", "--requirement", PYTORCH_PINS]
    else:
        # Without dependencies: TensorFlow and the rest are those of .venv.
        packages = [f"pyspark=={name}", *([f"keras=={OLDEST_KERAS}"] if name == OLDER_SPARKS[0] else [])]
        folder = OTHERS / "-".join(packages).replace("==", "")
        command = ["uv", "pip", "install", "--no-deps", *packages]

    def install() -> Path:
        # It gets its name only when it is complete.
        if not folder.exists():
            part = OTHERS / "part"
            shutil.rmtree(part, ignore_errors=True)
            subprocess.run(["nice", "-n", "10", *command, "-q", "--target", part], stdin=subprocess.DEVNULL, check=True)
            part.rename(folder)
        return folder

    return INSTALLER.submit(install)


def installed(name: str) -> Path:
    """The folder with an older Spark or PyTorch."""
    return begin_to_install(name).result()


def java_classes(session: nox.Session) -> dict[str, str]:
    """Where the newest Spark's Java classes are kept, with which a session takes half the time of a core to start.

    They are those of this Java and these files of Spark. An older Spark has too few sessions to be worth it.
    """
    jars = Path(importlib.util.find_spec("pyspark").origin).with_name("jars")
    files = sorted((str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars.iterdir())
    java = output_of(Path(os.environ["JAVA_HOME"], "bin/java"), "-version")
    classes = OTHERS / f"java-classes-{hashlib.sha256(f'{java}{files}'.encode()).hexdigest()[:12]}"
    if not classes.exists():
        session.log(f"Keeping Spark's Java classes in {OTHERS.name} (200 MB; takes half a minute)")
        OTHERS.mkdir(exist_ok=True)
        for older in OTHERS.glob("java-classes*"):
            older.unlink()
        part = OTHERS / "java-classes"
        session.run("python", "tests/java_classes.py", str(part))
        part.rename(classes)
    return {"SPARK_CLASSES": str(classes)}


def requirements_that_the_lock_does_not_meet() -> list[str]:
    """Requirements of pyproject.toml for which the lock file has no pin or another one."""
    lines = [line for line in (ROOT / LOCK).read_text().splitlines() if not line.startswith("#")]
    pins: dict[str, list[str]] = {}
    for pin in map(Requirement, lines):
        pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = map(Requirement, [*PROJECT["project"]["dependencies"], *itertools.chain(*extras)])
    return [
        str(requirement)
        for requirement in wanted
        if not (found := pins.get(canonicalize_name(requirement.name)))
        or not all(requirement.specifier.contains(pin, prereleases=True) for pin in found)
    ]
