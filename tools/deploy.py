"""`make deploy`: the stack's parameters, checked and handed over whole, and the SAM CLI.

Parameters come from a file (`CONFIG=`), from `PARAMETERS=`, or both; the latter win. They reach SAM
in a file of their own: on its command line it would end a value at the first space. `Tags` in the
file are put on the stack, and by CloudFormation on all that it makes.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import yaml
from samtranslator.yaml_helper import yaml_parse

from tools import ROOT

SAM = ROOT / ".venv-sam/bin/sam"
MOST_OF_A_SES_NAME = 64  # of a configuration set (AWS::SES::ConfigurationSet, Name)
_SES_RESOURCE = re.compile(r"^  \w+:\n    Type: AWS::SES::.*\n(?:(?:    .*)?\n)*", re.MULTILINE)


class BadParameters(Exception):
    """The parameters cannot be deployed; the message says what to change."""


def read_config(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters and the tags in a file of YAML or JSON: an object of names and values.

    Raises:
        BadParameters.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadParameters(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadParameters(f"{path} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise BadParameters(f"{path} must hold names and values, such as 'ThrottleRate: 500'")
    tags = found.pop("Tags", {})
    if not isinstance(tags, dict):
        raise BadParameters(f"Tags in {path} must hold names and values, such as 'team: licensing'")
    return _texts(found, path), _texts(tags, path)


def _texts(found: Mapping[Any, Any], path: Path) -> dict[str, str]:
    values = {}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise BadParameters(f"{name} in {path} must be a text or a number; put it in quotes")
        values[str(name)] = str(value)
    return values


def read_pairs(text: str) -> dict[str, str]:
    """The parameters in `Name=value Name='a value'`.

    Raises:
        BadParameters.
    """
    values = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadParameters(f"PARAMETERS: {error}") from None
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise BadParameters(
                f"PARAMETERS: '{word}' is not 'Name=value'. Quote a value with spaces, or put it"
                " into a file: make deploy CONFIG=parameters.yaml"
            )
        values[name] = value
    return values


def check(values: Mapping[str, str], parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold values to what the template says of its parameters, as CloudFormation will.

    Raises:
        BadParameters: names everything that is wrong.
    """
    wrong = []
    for name, value in values.items():
        rule = parameters.get(name)
        if rule is None:
            wrong.append(f"{name}: the template has no such parameter")
        elif reason := _wrong(value, rule):
            wrong.append(f"{name}: {reason}")
    if wrong:
        raise BadParameters("\n".join(wrong))


def _wrong(value: str, rule: Mapping[str, Any]) -> str:
    allowed = [str(each) for each in rule.get("AllowedValues", ())]
    if allowed and value not in allowed:
        return f"must be one of {', '.join(allowed)}"
    if rule["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return "must be a number"
        low, high = rule.get("MinValue", number), rule.get("MaxValue", number)
        return "" if low <= number <= high else f"must be from {low} to {high}"
    if len(value) > rule.get("MaxLength", len(value)):
        return f"must have at most {rule['MaxLength']} characters"
    pattern = rule.get("AllowedPattern")
    return f"must match {pattern}" if pattern and not re.fullmatch(pattern, value) else ""


def digest(values: Mapping[str, str]) -> str:
    """What stands for the values of all parameters in the template that is deployed."""
    return hashlib.sha256(json.dumps(sorted(values.items())).encode()).hexdigest()[:16]


def has_ses(region: str) -> bool:
    """Whether SES is in this region, as the pinned botocore knows."""
    session = botocore.session.get_session()
    for partition in session.get_available_partitions():
        if region in session.get_available_regions("dynamodb", partition):
            return region in session.get_available_regions("sesv2", partition)
    return True  # not known here, or newer than botocore


def write_template(values: Mapping[str, str], region: str) -> Path:
    """The template as it is deployed to a region, beside what was built; its path.

    Raises:
        BadParameters: mail is to be sent, and the region has no SES.
    """
    text = (ROOT / "template.yaml").read_text()
    unmarked, built = "PARAMETERS_DIGEST: none", "Uri: .build/"
    assert text.count(unmarked) == 1
    assert built in text
    text = text.replace(unmarked, f'PARAMETERS_DIGEST: "{digest(values)}"')
    if not has_ses(region):
        if values.get("EmailSender"):
            raise BadParameters(f"EmailSender: there is no SES in {region}, so leave it empty")
        # CloudFormation refuses a type that a region does not have, whatever its condition.
        text = _SES_RESOURCE.sub("", text)
    path = ROOT / ".build/template.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace(built, "Uri: ./"))
    return path


def _quoted(text: str) -> str:
    """As SAM's parser takes any text, spaces and signs included."""
    return '"' + text.replace('"', '\\"') + '"'


def _region_of(arguments: list[str]) -> str:
    """Where SAM will deploy to: as it is told, or by your usual settings; empty: unknown here."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--region")
    parser.add_argument("--profile")
    given, _ = parser.parse_known_args(arguments)
    return given.region or boto3.Session(profile_name=given.profile).region_name or ""


def main() -> None:
    """Check, then deploy; ends with SAM's own exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--bucket", default="")
    given, more = parser.parse_known_args()
    template = yaml_parse((ROOT / "template.yaml").read_text())
    try:
        config = os.environ.get("CONFIG", "")
        values, tags = read_config(Path(config)) if config else ({}, {})
        values |= read_pairs(os.environ.get("PARAMETERS", ""))
        values["Architecture"] = given.architecture
        check(values, template["Parameters"])
        if values.get("EmailSender") and len(given.stack) > MOST_OF_A_SES_NAME:
            raise BadParameters(
                f"EmailSender: the stack's name is also that of what SES needs, and may then have"
                f" {MOST_OF_A_SES_NAME} characters at the most"
            )
        written = write_template(values, _region_of(more))
    except BadParameters as error:
        sys.exit(str(error))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="overdraft-") as file:
        yaml.safe_dump(values, file, allow_unicode=True)
        file.flush()
        labels = [f"{_quoted(name)}={_quoted(value)}" for name, value in tags.items()]
        bucket = ["--s3-bucket", given.bucket] if given.bucket else ["--resolve-s3"]
        command = [
            str(SAM),
            "deploy",
            "--template-file",
            str(written),
            "--stack-name",
            given.stack,
            *bucket,
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-fail-on-empty-changeset",
            "--parameter-overrides",
            f"file://{file.name}",
            *(["--tags", *labels] if labels else []),
            *more,
        ]
        environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
