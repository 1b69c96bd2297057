"""Parameters reach CloudFormation whole: through our own reading, and through the SAM CLI's parser."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local.adapt import read_template
from tools import ROOT
from tools.deploy import BadParameters, check, digest, read_config, read_pairs, write_template

PARAMETERS: dict[str, Any] = read_template()["Parameters"]
LOGO = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="
VALUES = {
    "PortalVendorName": "The CAD Company, 'best' \"of\" $HOME `all`; ü",
    "PortalEmbedOrigins": "https://a.example.com https://b.example.com:8443",
    "PortalLogo": LOGO,
    "ReportRecipients": "a@x.example, b@x.example",
    "ThrottleRate": "250",
}


def test_a_file_reaches_the_sam_cli_whole(tmp_path: Path) -> None:
    """What `make deploy CONFIG=` gives to `sam deploy`, as SAM itself reads it."""
    config, sent = tmp_path / "parameters.yaml", tmp_path / "sent"
    tags = {"team": "licensing", "cost center": 'The CAD Company; "best" a=b'}
    config.write_text(json.dumps({**VALUES, "Tags": tags}, ensure_ascii=False))
    # In place of `sam`: the parser of the SAM CLI, on the arguments that `sam` would get.
    fake = tmp_path / "sam"
    fake.write_text(f"""#!{ROOT}/.venv-sam/bin/python
import json, sys
from samcli.cli.types import CfnParameterOverridesType, CfnTags
at = sys.argv.index("--parameter-overrides") + 1
tags = sys.argv.index("--tags") + 1
parsed = CfnParameterOverridesType().convert((sys.argv[at],), None, None)
named = CfnTags().convert(tuple(sys.argv[tags:]), None, None)
open({str(sent)!r}, "w").write(json.dumps([parsed, named]))
""")
    fake.chmod(0o755)
    program = "import sys, tools.deploy as d; d.SAM = sys.argv.pop(1); d.main()"
    command = [
        sys.executable,
        "-c",
        program,
        str(fake),
        "--stack",
        "s",
        "--architecture",
        "x86_64",
    ]
    environment = {**os.environ, "CONFIG": str(config), "PARAMETERS": "ThrottleBurst=7"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    found, named = json.loads(sent.read_text())
    assert named == tags
    assert found == {**VALUES, "ThrottleBurst": "7", "Architecture": "x86_64"}


def test_make_hands_values_over_untouched_by_a_shell(tmp_path: Path) -> None:
    value = f"PortalLogo={LOGO}"
    makefile = tmp_path / "Makefile"
    lines = (ROOT / "Makefile").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("export CONFIG")]
    makefile.write_text(f"{line}\nshow:\n\t@printenv PARAMETERS\n")
    shown = subprocess.run(
        ["make", "--no-print-directory", "-f", str(makefile), "show", f"PARAMETERS={value}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert shown.stdout.strip() == value
    recipe = (ROOT / "Makefile").read_text().split("\ndeploy:")[1].split("\n\n")[0]
    assert "PARAMETERS)" not in recipe
    assert "CONFIG)" not in recipe


def test_pairs() -> None:
    assert read_pairs("A=1 B='The CAD Company' C=\"x;y\"") == {
        "A": "1",
        "B": "The CAD Company",
        "C": "x;y",
    }
    with pytest.raises(BadParameters, match=r"'CAD' is not 'Name=value'\. Quote a value"):
        read_pairs("PortalVendorName=The CAD Company")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ThrottelRate", "1", "no such parameter"),
        ("ThrottleRate", "many", "must be a number"),
        ("OverdraftQuietMinutes", "2000", "must be from 0 to 1440"),
        ("LogLevel", "LOUD", "must be one of DEBUG, INFO"),
        ("EmailSender", "not an address", "must match"),
        ("EmailSender", "müller@x.example", "must match"),
        ("ReportRecipients", "a@x.example; b@x.example", "must match"),
        ("PortalVendorName", "x" * 81, "at most 80"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_deployed(
    name: str, value: str, reason: str
) -> None:
    with pytest.raises(BadParameters, match=reason):
        check({name: value}, PARAMETERS)


def test_what_is_right_passes(tmp_path: Path) -> None:
    check(VALUES, PARAMETERS)
    check({name: str(rule["Default"]) for name, rule in PARAMETERS.items()}, PARAMETERS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a", "must hold names and values"),
        ("A: [1]", "must be a text"),
        ("A: yes", "quotes"),
        ("a: b: c", "is not YAML"),
        ("Tags: a", "Tags in"),
        ("Tags: {a: [1]}", "must be a text"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(BadParameters, match=reason):
        read_config(file)
    with pytest.raises(BadParameters, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_what_is_deployed_is_the_template_with_a_digest_of_all_values() -> None:
    deployed = yaml_parse(write_template({"LogLevel": "WARNING"}, "eu-central-1").read_text())
    template = read_template()
    variables = deployed["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["PARAMETERS_DIGEST"] == digest({"LogLevel": "WARNING"}) != digest({})
    variables["PARAMETERS_DIGEST"] = "none"
    for name, resource in template["Resources"].items():
        for member in ("CodeUri", "ContentUri"):
            if member in resource.get("Properties", {}):
                found = deployed["Resources"][name]["Properties"]
                # Relative to where the template lies.
                assert (ROOT / ".build" / found[member]) == ROOT / resource["Properties"][member]
                found[member] = resource["Properties"][member]
    assert deployed == template


def test_a_region_without_ses_is_given_no_resources_of_it() -> None:
    deployed = yaml_parse(write_template({}, "cn-north-1").read_text())["Resources"]
    template = read_template()["Resources"]
    left_out = template.keys() - deployed.keys()
    assert left_out == {
        name for name, each in template.items() if each["Type"].startswith("AWS::SES::")
    }
    assert len(left_out) == 2
    # Nothing that is left refers to them.
    for name in left_out:
        assert not re.search(rf"\b{name}\b", json.dumps(deployed))
    for region in ("us-east-1", "us-east-9", ""):  # also one that is newer than botocore
        assert yaml_parse(write_template({}, region).read_text())["Resources"].keys() == (
            template.keys()
        )
    with pytest.raises(BadParameters, match="no SES in cn-north-1"):
        write_template({"EmailSender": "a@b.example"}, "cn-north-1")
