"""The stack in the emulator: our own template, deployed, and its outputs."""

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local import adapt
from local.emulator import ACCESS_KEY, REGION, SECRET_KEY, Emulator, LocalError
from local.stream_mapping import StreamMapping
from tools import build
from tools.bootstrap_key import make_key

STACK = "overdraft"
BUCKET = "overdraft-code"
SENDER = "overdraft@example.com"
REPORTS_TO = "reports@vendor.example"
VENDOR = "The CAD Company"
# A page of this origin may call the API with portal links.
API_ORIGIN = "http://localhost:8123"
DEPLOY_SECONDS = 180


def api_url(emulator: Emulator) -> str:
    """Where the API of a stack in this emulator is."""
    return f"{emulator.url}/_aws/execute-api/{adapt.API_ID}"


class Stack:
    """A deployed stack. `bootstrap_key` has every scope; `outputs` are the template's."""

    def __init__(self, emulator: Emulator, bootstrap_key: str) -> None:
        self.emulator = emulator
        self.bootstrap_key = bootstrap_key
        self.api_url = api_url(emulator)
        self.outputs: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.mappings: list[StreamMapping] = []

    def client(self, service: str) -> Any:
        """A boto3 client of the emulator."""
        return client(self.emulator.url, service)

    def stop(self) -> None:
        """Stop what runs beside the emulator."""
        for mapping in self.mappings:
            mapping.stop()


def client(url: str, service: str) -> Any:
    """A boto3 client of an emulator at `url`."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(retries={"mode": "standard"}, connect_timeout=5, read_timeout=60),
    )


def deploy(
    emulator: Emulator,
    parameters: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Stack:
    """Deploy `template.yaml` into a running emulator; `say` is called with each step.

    Raises:
        LocalError: the deployment failed; the message has the emulator's reason.
    """
    key, key_hash = make_key()
    stack = Stack(emulator, key)
    given = {
        "BootstrapKeyHash": key_hash,
        "EmailSender": SENDER,
        "ReportRecipients": REPORTS_TO,
        "PublicUrl": stack.api_url,
        "InsecureWebhookHosts": "127.0.0.1",
        "PortalVendorName": VENDOR,
        "PortalEmbedOrigins": "http://127.0.0.1:*",
        "PortalApiOrigins": API_ORIGIN,
        **(parameters or {}),
    }
    stack.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    say("packaging the functions")
    template = adapt.read_template()
    _upload_code(stack, template)
    say("transforming template.yaml")
    expanded, mappings = adapt.for_emulator(adapt.expand(template, given))
    say(f"deploying {len(expanded['Resources'])} resources")
    _apply(stack, expanded, given, "create")
    stack.parameters = given
    _pump(stack, mappings)
    return stack


def update(stack: Stack, parameters: Mapping[str, str]) -> None:
    """Deploy again, with other parameters.

    Raises:
        LocalError: the update failed; the message has the emulator's reason.
    """
    stack.parameters = {**stack.parameters, **parameters}
    template = adapt.read_template()
    _upload_code(stack, template)
    expanded, mappings = adapt.for_emulator(adapt.expand(template, stack.parameters))
    _apply(stack, expanded, stack.parameters, "update")
    stack.stop()
    _pump(stack, mappings)


def _pump(stack: Stack, mappings: list[dict[str, Any]]) -> None:
    stack.mappings = [
        StreamMapping(
            stack.client,
            {**_resolve(stack, mapping), "EventSourceArn": stack.outputs["StreamArn"]},
        )
        for mapping in mappings
    ]


def _upload_code(stack: Stack, template: adapt.Template) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET)  # as often as you like, for its owner
    with tempfile.TemporaryDirectory(prefix="overdraft-") as name:
        folder = Path(name)
        try:
            build.build_functions(folder)
        except build.BuildError as error:
            raise LocalError(str(error)) from None
        build.compile_bytecode([folder])
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            for member in ("CodeUri", "ContentUri"):
                if member not in properties:
                    continue
                function = Path(properties[member]).name
                key = f"{function}.zip"
                if (folder / function).exists():
                    s3.put_object(Bucket=BUCKET, Key=key, Body=_zip(folder / function))
                properties[member] = f"s3://{BUCKET}/{key}"


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def _apply(
    stack: Stack, template: adapt.Template, parameters: Mapping[str, str], action: str
) -> None:
    """Create or update the stack, wait for it, and read what there is."""
    # By its address: what is written out is longer than a call may be.
    body = json.dumps(template).encode()
    stack.client("s3").put_object(Bucket=BUCKET, Key="template.json", Body=body)
    cloudformation = stack.client("cloudformation")
    start = {"create": cloudformation.create_stack, "update": cloudformation.update_stack}[action]
    start(
        StackName=STACK,
        TemplateURL=f"{stack.emulator.url}/{BUCKET}/template.json",
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    deadline = time.monotonic() + DEPLOY_SECONDS
    while time.monotonic() < deadline:
        [described] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        status = described["StackStatus"]
        if status == f"{action.upper()}_COMPLETE":
            break
        if not status.endswith("IN_PROGRESS"):
            raise LocalError(f"The deployment failed: {_reason(cloudformation) or status}")
        time.sleep(0.2)
    else:
        raise LocalError(f"The deployment did not end within {DEPLOY_SECONDS} s.")
    stack.outputs = {
        output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])
    }
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    stack.functions = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources
    }


def _reason(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in events
        if event.get("ResourceStatus", "").endswith("FAILED")
    ]
    return failed[-1] if failed else ""


def _resolve(stack: Stack, value: Any) -> Any:
    """Put the deployed names in place of `Ref` and `Fn::GetAtt`, as far as mappings use them."""
    if isinstance(value, list):
        return [_resolve(stack, inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        return None  # the stream, which is the one of the outputs
    if "Ref" in value:
        return stack.functions[value["Ref"]]
    if "Fn::GetAtt" in value:
        name, _ = value["Fn::GetAtt"]
        return f"arn:aws:s3:::{stack.functions[name]}"  # what else a mapping names is a bucket
    return {name: _resolve(stack, inner) for name, inner in value.items()}
