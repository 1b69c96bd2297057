"""Compile every `requirements*.in` to a `.txt` with hashes, for all platforms: `make lock`."""

import subprocess
import sys

from tools import ROOT

# In this order: what is tested is what runs in Lambda.
FILES = {
    "requirements": (),
    "requirements-dev": ("--constraint", "requirements.txt"),
    "requirements-deploy": (),
    "requirements-checkov": (),
    "requirements-docs": (),
    "requirements-uv": (),
}


def main() -> None:
    """Compile all; no file records where a package was found."""
    for name, extra in FILES.items():
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--universal",
            "--python-version",
            "3.11",
            "--no-emit-index-url",
            "--custom-compile-command",
            "make lock",
            *extra,
            "--output-file",
            f"{name}.txt",
            f"{name}.in",
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        print(f"compiled {name}.txt")


if __name__ == "__main__":
    main()
