"""The rules of CONTRIBUTING.md, checked against the code."""

import ast
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from functions.activate.body import read_activation
from shared.api.schemas.seats import ActivationRequest
from shared.problems import InvalidRequest
from tools import ROOT, VERSION, build, openapi, vendor_client

SOURCES = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("functions/**/*.py")])


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {node.module or ""}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tracked() -> list[Path]:
    result = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in result.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_who_may_import_whom(path: Path) -> None:
    function = path.relative_to(ROOT).parts[:2]
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in ("local", "tools", "tests", "benchmarks"), f"{path} imports {name}"
        if top == "functions":
            assert function[0] == "functions", f"shared imports {name}"
            assert name.split(".")[1] in (function[1], "functions"), f"{function[1]} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_client_talks_to_dynamodb(path: Path) -> None:
    heavy = {"boto3", "botocore", "awscrt", "urllib3", "requests"}
    if path.name == "aws.py":
        heavy -= {"botocore"}
    if path == ROOT / "shared/aws_json.py":
        heavy -= {"awscrt", "botocore"}
    assert not {name.split(".")[0] for name in imports(path)} & heavy
    if path != ROOT / "shared/dynamodb/client.py":
        assert "ConditionalCheckFailed" not in path.read_text()


# The least that a function needs to be loaded.
ENVIRONMENT = {
    "AWS_REGION": "x",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "TABLE_NAME": "x",
}


def test_functions_on_the_hot_path_load_no_pydantic() -> None:
    program = (
        "import sys; import functions.activate.handler, functions.release.handler, functions.consume.handler;"
        "print([m for m in ('pydantic', 'boto3', 'botocore.auth', 'botocore.session', 'urllib3', 'http.client', 'zoneinfo', 'aiohttp') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"


# Each package may import those before it in this list, and itself.
PACKAGES = (
    (
        "clock",
        "ids",
        "texts",
        "problems",
        "limits",
        "aws",
        "http_connection",
        "observability",
        "webhooks.url_policy",
    ),
    ("aws_json",),
    ("dynamodb", "kms"),
    ("audit", "validity", "signed_tokens", "overdraft_clock", "overload"),
    ("seats", "usage"),
    ("entitlements", "history", "report_links"),
    ("sales", "mail_links"),
    ("events",),
    ("webhooks",),
    ("api",),
)


def rank_of(module: str) -> int:
    """The position of a module of `shared` in the order of packages."""
    name = module.removeprefix("shared.")
    for rank, packages in enumerate(PACKAGES):
        if any(name == each or name.startswith(f"{each}.") for each in packages):
            return rank
    raise AssertionError(f"{module} has no place in the order of packages")


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("shared/**/*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_packages_import_in_one_direction(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if path.name == "__init__.py":
        code = [each for each in ast.parse(path.read_text()).body if not is_docstring(each)]
        assert code == [], "a package is imported without side effects"
        return
    for name in imports(path):
        if name.startswith("shared.") and name.count(".") >= 1:
            module = name if (ROOT / f"{name.replace('.', '/')}.py").exists() else ""
            if module and module.split(".")[1] != own.split(".")[1]:
                assert rank_of(module) < rank_of(own), f"{own} imports {module}"


def test_what_is_shared_is_used_by_more_than_one_function() -> None:
    """A package or a module that one function alone needs belongs into that function."""
    needs: dict[str, set[str]] = {}
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        needs[module] = {name for name in imports(path) if name.startswith("shared.")}
    users: dict[str, set[str]] = {
        module.split(".")[1]: set()
        for module in needs
        if module.startswith("shared.") and module != "shared.__init__"
    }
    for start in [module for module in needs if module.startswith("functions.")]:
        waiting, seen = [start], set[str]()
        while waiting:
            for name in needs.get(waiting.pop(), ()):
                if name in needs and name not in seen:
                    seen.add(name)
                    waiting.append(name)
        for name in seen:
            users[name.split(".")[1]].add(start.split(".")[1])
    assert {name: used for name, used in users.items() if len(used) < 2} == {}


def test_contributing_names_every_file() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    unnamed = [
        str(path.relative_to(ROOT))
        for part in ("functions", "shared")
        for path in sorted((ROOT / part).rglob("*.py"))
        if path.name != "__init__.py"
        and not {"schemas", "node_modules"} & set(path.parts)
        and path.name not in guide
    ]
    assert unnamed == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_request_of_an_operation_gets_its_reply_from_send(path: Path) -> None:
    """A bare `yield` would give a reply without a type."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or node.returns is None:
            continue
        returns = ast.unparse(node.returns)
        if not returns.startswith("Operation[") or node.name in ("send", "_in_turn"):
            continue
        bare = [each.lineno for each in ast.walk(node) if isinstance(each, ast.Yield)]
        assert not bare, f"{path}: {node.name} yields in lines {bare}"


def test_decisions_have_no_clock_and_no_environment() -> None:
    source = (ROOT / "shared/seats/shard.py").read_text()
    for word in ("time.time", "datetime", "os.environ", "random", "sleep"):
        assert word not in source


def test_the_description_is_current() -> None:
    assert (ROOT / "openapi.json").read_text() == openapi.text(), "run: make openapi"


def test_the_typed_calls_of_the_python_client_follow_the_description() -> None:
    for name, text in vendor_client.files().items():
        assert (vendor_client.PACKAGE / name).read_text() == text, "run: make openapi"


def test_versions_agree() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()
    assert re.search(rf"^## .*{re.escape(VERSION)}", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_no_file_names_a_package_registry() -> None:
    hosts = [
        "pypi." + "org",
        "pythonhosted." + "org",
        "registry.npmjs." + "org",
        "npmjs." + "com",
        "registry.yarnpkg." + "com",
    ]
    for path in tracked():
        text = path.read_text(errors="ignore")
        assert not [host for host in hosts if host in text], path


def test_every_package_is_pinned_with_a_hash() -> None:
    for path in ROOT.glob("requirements*.txt"):
        entries = re.findall(r"^([A-Za-z0-9_.-]+(?:\[[^\]]*\])?)(==\S+)?", path.read_text(), re.M)
        assert entries
        assert all(pin for _, pin in entries), path
        assert path.read_text().count("--hash=sha256:") >= len(entries)


def test_what_is_tested_is_what_runs_in_lambda() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / name).read_text(), re.M))

    deployed, tested = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: tested[name] for name in deployed} == deployed


def processor_of(library: Path) -> str:
    """The processor that a library is for, by its ELF header (`e_machine`, at byte 18)."""
    number = int.from_bytes(library.read_bytes()[18:20], "little")
    return {0x3E: "x86_64", 0xB7: "aarch64"}[number]


@pytest.mark.parametrize("architecture", build.PLATFORMS)
def test_the_layer_is_built_for_the_deployed_platform(architecture: str) -> None:
    """Wheels only, for Lambda's Python and processor; and all that the functions import is in it."""
    with tempfile.TemporaryDirectory() as name:
        python = build.build_packages(Path(name), architecture) / "python"
        libraries = list(python.rglob("*.so"))
        assert libraries
        machine = build.PLATFORMS[architecture].partition("-")[0]
        for path in libraries:
            # Named by its version of Python and its processor, or of the stable ABI.
            of_version = f"cpython-{build.RUNTIME.replace('.', '')}-{machine}" in path.name
            assert of_version or path.name.endswith(".abi3.so"), path.name
            assert processor_of(path) == machine, path.name
        provided = {path.name.split(".")[0] for path in python.iterdir()}
        used = {name.split(".")[0] for path in SOURCES for name in imports(path)}
        third_party = used - set(sys.stdlib_module_names) - {"shared", "functions"}
        assert third_party <= provided
        size = sum(path.stat().st_size for path in python.rglob("*"))
        assert size < 65_000_000


def test_every_function_starts_from_its_package_and_the_layer_alone(tmp_path: Path) -> None:
    """The layer is pruned: nothing that a function loads may be missing from it."""
    folders = build.build_functions(tmp_path)
    layer = build.build_packages(tmp_path, None)
    for function, folder in zip(build.FUNCTIONS, folders, strict=True):
        program = (
            f"import sys; sys.path += [{str(folder)!r}, {str(layer / 'python')!r}];"
            f"import functions.{function}.handler as module; module.handler"
        )
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program],
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


SEATS = st.one_of(
    st.none(), st.integers(), st.text(max_size=40), st.text("aé\u0301\n\x7f\x85 👩", max_size=300)
)
PERIODS = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(["P14D", "PT1M", "PT59S", "P366D", "P367D", "P1M", "P", "PT", "", "14 days"]),
)
NAMES = st.one_of(st.none(), st.text(max_size=140), st.integers())
ATTRIBUTES = st.one_of(
    st.none(),
    st.dictionaries(st.text(max_size=60), st.text(max_size=260), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.lists(st.text(max_size=2), max_size=2),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "seatId": SEATS,
            "seatName": NAMES,
            "attributes": ATTRIBUTES,
            "signed": st.one_of(st.booleans(), st.none(), st.just("true")),
            "leasePeriod": PERIODS,
            "x": st.none(),
        },
    )
)
def test_the_quick_check_of_a_body_is_the_described_one(body: dict[str, object]) -> None:
    """The hot path checks by hand; the description is made from the model. They must agree."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # refused for every route before either looks

    def by_hand() -> bool:
        try:
            read_activation(dict(body))
        except InvalidRequest:
            return False
        return True

    def by_model() -> bool:
        try:
            ActivationRequest.model_validate(body)
        except ValidationError:
            return False
        return True

    assert by_hand() == by_model()


def test_make_help_lists_every_command_that_the_docs_name() -> None:
    help_text = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = {word for line in help_text.splitlines() if line[:1].strip() for word in line.split()}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        command
        for page in pages
        for command in re.findall(r"(?:`|^\s*)make ([a-z][a-z-]+)", page.read_text(), re.M)
    }
    assert len(named) > 20
    assert not named - listed
