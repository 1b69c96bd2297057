"""Package the functions and the layer into `.build/`, where `template.yaml` looks for them.

`python -m tools.build` builds for the deployed platform: the functions' code with bytecode for the
template's runtime, and a layer of the pinned packages for its architecture. A function carries its
own package, `shared`, and the files that it reads (`openapi.json`, `VERSION`).
"""

import argparse
import compileall
import fcntl
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import ROOT

FUNCTIONS = (
    "activate",
    "consume",
    "release",
    "manage",
    "portal",
    "notify",
    "deliver",
    "report",
)
RUNTIME = "3.13"
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
BUILD = ROOT / ".build"
# What Lambda never loads: 27 MB of API models of services that are not called, tests, type stubs.
PRUNED = ("botocore/data", "bin", "**/tests", "**/*.pyi", "**/__pycache__")
# Documents of the layer's packages that botocore does read.
KEPT_DATA = ("endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json")
# The models of the services that functions call through `shared/aws.py`.
KEPT_SERVICES = ("events", "s3", "sesv2", "sqs")


# The portal's page: its sources, and where they are built into.
WEB = ROOT / "functions/portal/web"
STATIC = ROOT / "functions/portal/static"
TYPESCRIPT = ROOT / "clients/typescript"
# Held while the packages of a folder are installed.
INSTALLING = ".installing"


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""


def build_page() -> None:
    """The portal's page, if its sources have changed since it was built.

    Raises:
        BuildError: Node.js is missing, or the build failed.
    """
    _build_with_node(WEB, STATIC / ".built", ())


def build_typescript_client() -> None:
    """The TypeScript client, if its sources or the API have changed since it was built.

    Raises:
        BuildError: Node.js is missing, or the build failed.
    """
    TYPESCRIPT.joinpath("dist").mkdir(exist_ok=True)
    _build_with_node(TYPESCRIPT, TYPESCRIPT / "dist/.built", (ROOT / "openapi.json",))


def _build_with_node(folder: Path, marker: Path, besides: Sequence[Path]) -> None:
    """Build a folder; its marker is the digest of its sources, and of other files."""
    digest = hashlib.sha256()
    made = {"node_modules", "dist", "generated", ".lock", INSTALLING}
    for path in [*sorted(folder.rglob("*")), *besides]:
        if path.is_file() and not made & set(path.parts):
            digest.update(f"{os.path.relpath(path, folder)}\0".encode() + path.read_bytes())
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests begin beside each other
        if marker.exists() and marker.read_text() == digest.hexdigest():
            return
        install_node_packages(folder)
        _node(["node", "build.mjs"], folder)
        marker.write_text(digest.hexdigest())


def install_node_packages(folder: Path) -> None:
    """The packages of a folder, as its lock file has them, if they are not there."""
    lock, installed = folder / "package-lock.json", folder / "node_modules/.installed"
    with (folder / INSTALLING).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests begin beside each other
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            # No package's own scripts run: none of them needs to.
            _node(["npm", "ci", "--ignore-scripts", "--silent"], folder)
            installed.write_bytes(lock.read_bytes())


def _node(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError:
        raise BuildError(
            f"{folder} is built with Node.js 20; '{command[0]}' was not found: install it"
        ) from None
    if done.returncode:
        raise BuildError(f"'{' '.join(command)}' failed in {folder}:\n{done.stdout}")


def build_function(function: str, target: Path) -> None:
    """The source files of one function, in `target`."""
    shutil.rmtree(target, ignore_errors=True)
    if function == "portal":
        build_page()
    ignored = shutil.ignore_patterns("__pycache__", "web", ".built")
    for part in (f"functions/{function}", "shared"):
        shutil.copytree(ROOT / part, target / part, ignore=ignored)
    shutil.copy(ROOT / "functions/__init__.py", target / "functions/__init__.py")
    if function == "manage":
        shutil.copy(ROOT / "openapi.json", target)
        shutil.copy(ROOT / "VERSION", target)


def build_functions(build: Path = BUILD) -> list[Path]:
    """All functions, without bytecode; their folders."""
    targets = [build / function for function in FUNCTIONS]
    for function, target in zip(FUNCTIONS, targets, strict=True):
        build_function(function, target)
    return targets


def build_packages(build: Path, architecture: str | None) -> Path:
    """The layer's folder: the pinned packages, wheels only, for the deployed platform.

    Without an architecture: for this machine and this Python.
    """
    target = build / "packages"
    shutil.rmtree(target, ignore_errors=True)
    python = target / "python"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile-bytecode",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--target",
        str(python),
        "--requirements",
        str(ROOT / "requirements.txt"),
    ]
    if architecture:
        command += ["--python-version", RUNTIME, "--python-platform", PLATFORMS[architecture]]
    if subprocess.run(command, check=False).returncode:
        raise BuildError("the packages of requirements.txt could not be installed; see above")
    _prune(python)
    return target


def _prune(python: Path) -> None:
    data = python / "botocore/data"
    wanted = [data / name for name in KEPT_DATA]
    for service in KEPT_SERVICES:
        wanted += (path for path in (data / service).rglob("*") if path.is_file())
    kept = {path: path.read_bytes() for path in wanted if path.exists()}
    for pattern in PRUNED:
        for path in sorted(python.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def find_python(version: str) -> str:
    """An interpreter of exactly this minor version; `BUILD_PYTHON` names one.

    Raises:
        BuildError: there is none.
    """
    named = os.environ.get("BUILD_PYTHON")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        *([named] if named else []),
        sys.executable,
        f"python{version}",
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)),
        *map(str, (Path.home() / ".local/share/uv/python").glob(f"cpython-{version}*/bin/python")),
    ]
    for candidate in candidates:
        program = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            result = subprocess.run([candidate, "-c", program], capture_output=True, check=False)
        except OSError:
            continue
        if result.stdout.decode().strip() == version:
            return candidate
    raise BuildError(
        f"Python {version}, the functions' runtime, is needed to compile their bytecode; install it"
        f" (uv python install {version}) or name it: make build BUILD_PYTHON=/path/to/python"
    )


def compile_bytecode(folders: list[Path], python: str = sys.executable) -> None:
    """Bytecode beside every module; never checked against file times, which zipping changes."""
    if python == sys.executable:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        for folder in folders:
            compileall.compile_dir(folder, quiet=1, invalidation_mode=mode, stripdir=str(folder))
        return
    for folder in folders:
        subprocess.run(
            [
                python,
                "-m",
                "compileall",
                "-q",
                "--invalidation-mode",
                "unchecked-hash",
                "-s",
                str(folder),
                str(folder),
            ],
            check=True,
        )


def main() -> None:
    """Build everything for AWS."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", choices=sorted(PLATFORMS), default="arm64")
    parser.add_argument("--page", action="store_true", help="build the portal's page only")
    parser.add_argument("--typescript", action="store_true", help="build that client only")
    given = parser.parse_args()
    architecture = given.architecture
    if given.page:
        build_page()
        install_node_packages(WEB)
    if given.typescript:
        build_typescript_client()
        install_node_packages(TYPESCRIPT)
    if given.page or given.typescript:
        return
    python = find_python(RUNTIME)
    folders = [*build_functions(), build_packages(BUILD, architecture)]
    compile_bytecode(folders, python)
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*"))
    print(f"built {', '.join(FUNCTIONS)} and the layer for {architecture}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(f"make build: {error}")
