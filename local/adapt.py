"""From `template.yaml` to what the emulator can deploy.

The template is transformed by AWS's own SAM translator; then a few gaps of the emulator are
bridged, each in a function below that names it. Nothing here changes the product.
"""

import copy
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from local.emulator import REGION
from tools import ROOT
from tools.deploy import digest

Template = dict[str, Any]
API_ID = "overdraft"


class _NoManagedPolicies:
    """No function uses a managed policy: every function has its own role."""

    def load(self) -> dict[str, str]:
        return {}


@lru_cache(1)
def _parsed() -> Template:
    template: Template = yaml_parse((ROOT / "template.yaml").read_text())
    return template


def read_template() -> Template:
    """A copy of `template.yaml`, with short intrinsic forms (`!Ref`) written out."""
    return copy.deepcopy(_parsed())


def expand(template: Template, parameters: Mapping[str, str]) -> Template:
    """The CloudFormation template that SAM makes of ours."""
    logging.getLogger("samtranslator.feature_toggle.feature_toggle").setLevel(logging.ERROR)
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    variables["PARAMETERS_DIGEST"] = digest(parameters)
    expanded: Template = transform(template, dict(parameters), _NoManagedPolicies())
    return expanded


def for_emulator(expanded: Template) -> tuple[Template, list[dict[str, Any]]]:
    """The template as the emulator takes it, and the stream mappings for `stream_mapping.py`."""
    resources: dict[str, Any] = expanded["Resources"]
    _route_explicitly(resources)
    _without_layers(resources)
    _without_tls(resources)
    _without_gradual_deployments(resources)
    return expanded, _take_stream_mappings(resources)


def _route_explicitly(resources: dict[str, Any]) -> None:
    """The emulator ignores an API's `Body`: make its routes resources of their own."""
    for name, resource in list(resources.items()):
        if resource["Type"] != "AWS::ApiGatewayV2::Api":
            continue
        body = resource["Properties"].pop("Body")
        resource["Properties"] |= {
            "Name": "overdraft",
            "ProtocolType": "HTTP",
            "Tags": {"ms-custom-id": API_ID},
        }
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                _add_route(resources, name, path, method, operation)


def _add_route(
    resources: dict[str, Any], api: str, path: str, method: str, operation: dict[str, Any]
) -> None:
    integration = operation["x-amazon-apigateway-integration"]
    suffix = "".join(part for part in f"{method}{path}" if part.isalnum())
    key = path if path == "$default" else f"{method.upper()} {path}"
    resources[f"Integration{suffix}"] = {
        "Type": "AWS::ApiGatewayV2::Integration",
        "Properties": {
            "ApiId": {"Ref": api},
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": integration["uri"],
            "PayloadFormatVersion": integration["payloadFormatVersion"],
        },
    }
    resources[f"Route{suffix}"] = {
        "Type": "AWS::ApiGatewayV2::Route",
        "Properties": {
            "ApiId": {"Ref": api},
            "RouteKey": key,
            "Target": {"Fn::Sub": f"integrations/${{Integration{suffix}}}"},
        },
    }


def _without_layers(resources: dict[str, Any]) -> None:
    """Functions run on the emulator's own interpreter, which has the pinned packages already."""
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::Lambda::LayerVersion":
            del resources[name]
        elif resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"].pop("Layers", None)


def _without_tls(resources: dict[str, Any]) -> None:
    """The emulator is reached by plain http, which the buckets' policies refuse, rightly."""
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::S3::BucketPolicy":
            [statement] = resource["Properties"]["PolicyDocument"]["Statement"]
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            del resources[name]


def _without_gradual_deployments(resources: dict[str, Any]) -> None:
    """The emulator has no CodeDeploy: an alias is moved to new code at once."""
    for name, resource in list(resources.items()):
        resource.pop("UpdatePolicy", None)
        if resource["Type"].startswith("AWS::CodeDeploy::"):
            del resources[name]


def _take_stream_mappings(resources: dict[str, Any]) -> list[dict[str, Any]]:
    """The emulator loses records of failed batches of a stream: take those mappings over."""
    mappings = []
    for name, resource in list(resources.items()):
        is_mapping = resource["Type"] == "AWS::Lambda::EventSourceMapping"
        if is_mapping and "StartingPosition" in resource["Properties"]:
            mappings.append(resource["Properties"])
            del resources[name]
    return mappings
