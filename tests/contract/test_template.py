"""What is deployed: the template, held to its promises where the emulator cannot."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from functions.report import handler as report_handler
from local import stream_mapping
from local.adapt import expand, read_template
from shared import problems
from shared.api.routes import ROUTES
from tests.support import roles
from tools import ROOT, build, deploy

FUNCTIONS = {
    "Activate": "activate",
    "Consume": "consume",
    "Release": "release",
    "Entitlements": "manage",
    "Portal": "portal",
    "Notify": "notify",
    "Deliver": "deliver",
    "Report": "report",
}
ALIAS = "Aliaslive"
# Entitlements has no alias: see the template.
INVOKED = {
    name: "${Entitlements.Arn}" if name == "Entitlements" else f"${{{name}{ALIAS}}}"
    for name in FUNCTIONS
}
HTTP_FUNCTIONS = {
    name: function for name, function in FUNCTIONS.items() if name not in ("Notify", "Deliver")
}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return read_template()


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    """The resources as AWS's own SAM translator makes them."""
    template = read_template()
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://bucket/key"
    expanded: dict[str, Any] = expand(template, {"BootstrapKeyHash": "0" * 64})["Resources"]
    return expanded


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: each for name, each in resources.items() if each["Type"] == kind}


FRONT = "docs/examples/cloudfront.yaml"
REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-2", "us-gov-west-1")
WITHOUT_SES = "cn-north-1"


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    cfn_lint = str(Path(sys.executable).parent / "cfn-lint")
    # As `make deploy` writes it, with the paths of the sources.
    deployed = deploy.write_template({}, WITHOUT_SES).read_text()
    there = tmp_path / "template.yaml"
    there.write_text(deployed)
    for regions, template in (
        (REGIONS, "template.yaml"),
        ([WITHOUT_SES], str(there)),
        (["us-east-1"], FRONT),
    ):
        command = [cfn_lint, "--regions", *regions, "--", template]
        linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_the_template_has_no_yaml_anchors() -> None:
    """CloudFormation does not know them."""
    lines = (ROOT / "template.yaml").read_text().splitlines()
    assert not [line for line in lines if ": &" in line or ": *" in line]


def references(value: Any) -> Iterator[str]:
    """The names that a resource refers to, however."""
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name == "Ref" or (name == "DependsOn" and isinstance(inner, str)):
            yield inner
        elif name == "Fn::GetAtt":
            yield inner[0] if isinstance(inner, list) else inner.partition(".")[0]
        elif name == "Fn::Sub":
            text, more = (inner, None) if isinstance(inner, str) else inner
            yield from (each.partition(".")[0] for each in re.findall(r"\$\{([^!}]+)\}", text))
            yield from references(more)
        elif name == "DependsOn":
            yield from inner
        else:
            yield from references(inner)


def test_no_resource_waits_for_itself(resources: dict[str, Any]) -> None:
    """CloudFormation refuses circles; the emulator and cfn-lint do not see those through the API."""
    graph = {
        name: {other for other in references(each) if other in resources and other != name}
        for name, each in resources.items()
    }
    assert len(graph["Api"]) >= len(HTTP_FUNCTIONS), "the routes name their functions"
    TopologicalSorter(graph).prepare()


def test_every_route_leads_to_its_function(resources: dict[str, Any]) -> None:
    [api] = of_type(resources, "AWS::ApiGatewayV2::Api").values()
    routed = {}
    for path, methods in api["Properties"]["Body"]["paths"].items():
        for method, route in methods.items():
            uri = route["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            [function] = [function for name, function in FUNCTIONS.items() if INVOKED[name] in uri]
            assert route["x-amazon-apigateway-integration"]["payloadFormatVersion"] == "2.0"
            routed["$default" if path == "$default" else f"{method.upper()} {path}"] = function
    assert routed.pop("$default") == "manage"
    wanted = {route_key: route.function for route_key, route in ROUTES.items()}
    # RFC 9110, 9.1: a general-purpose server answers HEAD wherever it answers GET.
    heads = {
        route_key.replace("GET ", "HEAD "): function
        for route_key, function in wanted.items()
        if "GET " in route_key
    }
    assert routed == wanted | heads


def test_every_function_answers_its_routes() -> None:
    import importlib

    for function in HTTP_FUNCTIONS.values():
        module = importlib.import_module(f"functions.{function}.handler")
        mine = {route.id for route in ROUTES.values() if route.function == function}
        assert set(module.HANDLERS) == mine


def test_the_table_is_retained_and_has_a_stream(resources: dict[str, Any]) -> None:
    table = resources["Table"]
    properties = table["Properties"]
    assert table["DeletionPolicy"] == "RetainExceptOnCreate"
    assert table["UpdateReplacePolicy"] == "Retain"
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"]["SSEEnabled"] is True


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(resources: dict[str, Any], name: str) -> None:
    properties = resources[name]["Properties"]
    assert properties["Runtime"] == f"python{build.RUNTIME}"
    assert properties["Architectures"] == [{"Ref": "Architecture"}]
    assert properties["Handler"] == f"functions.{FUNCTIONS[name]}.handler.handler"
    assert properties["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
    assert properties["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Log"}}
    assert len(properties["Layers"]) == 1
    # Reports are made from a queue, as long as a function may take.
    assert properties["Timeout"] <= (900 if name == "Report" else 60)
    log = resources[f"{name}Log"]["Properties"]
    assert log["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    hashed = properties["Environment"]["Variables"].get("BOOTSTRAP_KEY_HASH")
    assert (hashed is not None) == (name in HTTP_FUNCTIONS), (
        "a room knows a credential it does not use"
    )


ITEM_ACTIONS = {
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:Query",
    "dynamodb:Scan",
}


@pytest.mark.parametrize("role", roles.roles())
def test_roles_are_narrow(resources: dict[str, Any], role: str) -> None:
    """Which rights a role needs is shown by the calls of a test run: see `tests/rights`."""
    properties = resources[role]["Properties"]
    assert "ManagedPolicyArns" not in properties
    for statement in roles.statements(role):
        assert statement.is_allow
        assert statement.actions, "what is allowed is named"
        assert statement.resources
        assert not any("*" in action for action in statement.actions)
        actions, conditions = set(statement.actions), dict[str, set[str]]()
        for operator, key, expected in statement.conditions:
            conditions[f"{operator} {key}"] = set(expected)
        if "*" in statement.resources:
            assert actions == {"dynamodb:ListStreams"}, "it knows no resource"
        if actions & ITEM_ACTIONS and not any("/index/" in each for each in statement.resources):
            # A request without keys would satisfy the second one alone.
            assert conditions["Null dynamodb:leadingkeys"] == {"false"}
            assert conditions["ForAllValues:StringLike dynamodb:leadingkeys"]
        if any(action.startswith("logs:") for action in actions):
            assert statement.resources == (role.replace("Role", "Log.Arn"),)
        if "ses:SendEmail" in actions:
            assert conditions["StringEquals ses:fromaddress"] == {"EmailSender"}


def test_the_stream_loses_nothing_and_blocks_nothing(resources: dict[str, Any]) -> None:
    properties = resources["NotifyStream"]["Properties"]
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties["BisectBatchOnFunctionError"] is True
    assert 0 < properties["MaximumRetryAttempts"] <= 100
    assert 0 < properties["MaximumRecordAgeInSeconds"] < 86_400
    assert properties["StartingPosition"] == "TRIM_HORIZON"
    destination = properties["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == {"Fn::GetAtt": ["StreamFailures", "Arn"]}
    patterns = [json.loads(each["Pattern"]) for each in properties["FilterCriteria"]["Filters"]]
    [wanted] = [pattern["dynamodb"]["Keys"]["pk"]["S"] for pattern in patterns]
    # What DynamoDB lets go of by its time to live tells nobody anything.
    assert [pattern["eventName"] for pattern in patterns] == [["INSERT", "MODIFY"]]
    assert 1 < properties["ParallelizationFactor"] <= 10
    names = (
        "LEDGER#",
        "SUM#",
        "USAGE#",
        "DENIAL#",
        "WEBHOOK_REQUEST#",
        "REPORT#",
        "FOLLOWUP#",
        "TRUE_UP#",
        "SEAT_REQUEST#",
        "SCHEDULED#",
        "EXPIRY#",
        "CLOCK#",
        "ENTITLEMENT#",
    )
    assert wanted == [*({"prefix": name} for name in names), "WEBHOOKS", "HEARTBEAT"]


def test_nothing_that_notify_writes_comes_back_to_it(resources: dict[str, Any]) -> None:
    filters = resources["NotifyStream"]["Properties"]["FilterCriteria"]["Filters"]
    patterns = [json.loads(each["Pattern"]) for each in filters]
    written = {
        key
        for statement in roles.statements("NotifyRole")
        if {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"}
        & {action.removeprefix("dynamodb:") for action in statement.actions}
        for key in statement.leading_keys
    }
    assert len(written) > 10
    # The one only becomes events, the other comes back once, with what it has told.
    # Of a report whose mail came back nothing is told: it has been published before. Nor of a
    # request for more seats that a purchase answers. Of a date on which notice is to be given, or
    # of a clock, nothing is told but that an overdraft has recovered, once.
    comes_back = {"FOLLOWUP#*", "SUM#*", "REPORT#*", "SEAT_REQUEST#*", "EXPIRY#*", "CLOCK#*"}
    for key in written - comes_back:
        keys = {"pk": {"S": key.replace("*", "x")}}
        record = {"eventName": "MODIFY", "dynamodb": {"Keys": keys}}
        assert not any(stream_mapping.matches(pattern, record) for pattern in patterns), key


def test_what_notify_reads_by_itself_it_may_read_in_a_batch() -> None:
    """A batch of the stream joins the reads of its groups into one call (`lockstep`)."""

    def keys(action: str) -> set[str]:
        return {
            key
            for statement in roles.statements("NotifyRole")
            if f"dynamodb:{action}" in statement.actions
            for key in statement.leading_keys
        }

    # These are read when e-mails are sent, or before the groups.
    apart = {"MAIL#*", "SECRET#unsubscribe", "SECRET#mail-link", "WEBHOOKS_VERSION"}
    apart |= {"CHANNEL#*", "WEBHOOKS"}  # when messages for channels are made
    assert keys("GetItem") - apart <= keys("BatchGetItem")


def test_stream_records_that_are_given_up_are_stored_whole(resources: dict[str, Any]) -> None:
    properties = resources["StreamFailures"]["Properties"]
    assert resources["StreamFailures"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 30
    assert properties["NotificationConfiguration"]["EventBridgeConfiguration"]
    rule = resources["StreamFailuresRule"]["Properties"]
    assert rule["EventPattern"]["detail"]["bucket"]["name"] == [{"Ref": "StreamFailures"}]
    assert [target["Arn"] for target in rule["Targets"]] == [
        {"Fn::GetAtt": ["NotifyFailures", "Arn"]}
    ]


def test_the_queue_of_deliver(resources: dict[str, Any]) -> None:
    mapping = resources["DeliverQueue"]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] >= 2
    queue, timeout = resources["Deliveries"]["Properties"], 60
    assert resources["Deliver"]["Properties"]["Timeout"] == timeout
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["DeliveryFailures", "Arn"]},
        "maxReceiveCount": 20,
    }


# When each schedule asks for something, and for what. A statement waits until the month is over in
# every time zone.
ASKED = {
    "ReportMonthly": ("1 * ?", ""),
    "ReportTrueUps": ("2 * ?", "trueUps"),
    "ReportWeekly": ("? * MON", "digest"),
}


def test_the_schedules(resources: dict[str, Any]) -> None:
    schedules = of_type(resources, "AWS::Scheduler::Schedule")
    assert len(schedules) == 7
    for name, schedule in schedules.items():
        properties = schedule["Properties"]
        assert "Name" not in properties, "two stacks would collide on the name"
        target = properties["Target"]
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["ScheduleFailures", "Arn"]}}
        assert target["RoleArn"] == {"Fn::GetAtt": ["ScheduleRole", "Arn"]}
        if name in ASKED:
            when, what = ASKED[name]
            assert properties["ScheduleExpression"] == f"cron(0 6 {when} *)"
            assert properties["ScheduleExpressionTimezone"] == {"Ref": "ReportTimeZone"}
            text, values = target["Input"]["Fn::Sub"]
            assert json.loads(text) == {
                "scheduledTime": "<aws.scheduler.scheduled-time>",
                "publicUrl": "${Url}",
                **({"what": what} if what else {}),
            }
            assert values["Url"]["Fn::If"][:2] == ["HasPublicUrl", {"Ref": "PublicUrl"}]
            continue
        assert properties["ScheduleExpression"] == "rate(1 minute)"
        assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 2


def test_what_is_invoked_asynchronously_is_not_lost(resources: dict[str, Any]) -> None:
    """A schedule's part ends when Lambda has taken the event: what follows is Lambda's to say."""
    arns = [
        target["Properties"]["Target"]["Arn"]
        for target in of_type(resources, "AWS::Scheduler::Schedule").values()
    ]
    # Entitlements has no alias.
    scheduled = {
        each["Fn::GetAtt"][0] if "Fn::GetAtt" in each else each["Ref"].removesuffix(ALIAS)
        for each in arns
    }
    configs = {
        each["Properties"]["FunctionName"]["Ref"]: each["Properties"]
        for each in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert set(configs) == scheduled
    qualifiers = {name: config["Qualifier"] for name, config in configs.items()}
    assert qualifiers.pop("Entitlements") == "$LATEST"
    assert set(qualifiers.values()) == {"live"}
    for name in scheduled - {"Report"}:
        assert configs[name]["MaximumRetryAttempts"] == 0
        assert configs[name]["MaximumEventAgeInSeconds"] == 60
    assert configs["Report"]["MaximumRetryAttempts"] == 2
    destination = configs["Report"]["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == {"Fn::GetAtt": ["ReportFailures", "Arn"]}


def test_a_function_may_send_to_the_queue_that_it_reads(resources: dict[str, Any]) -> None:
    """Lambda stops a chain of some sixteen invocations through a queue, unless it is allowed."""
    for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        if "StartingPosition" in mapping["Properties"]:
            continue
        function = mapping["Properties"]["FunctionName"]["Ref"].removesuffix(ALIAS)
        queue = ".".join(mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"])
        sends = any(
            "sqs:SendMessage" in statement.actions and queue in statement.resources
            for statement in roles.statements(f"{function}Role")
        )
        assert sends == (resources[function]["Properties"].get("RecursiveLoop") == "Allow")


def test_the_jobs_of_reports(resources: dict[str, Any]) -> None:
    mapping = resources["ReportQueue"]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 1
    queue = resources["ReportJobs"]["Properties"]
    assert queue["VisibilityTimeout"] > resources["Report"]["Properties"]["Timeout"]
    # The function gives a job up by itself, and says so: before the queue does it silently.
    assert queue["RedrivePolicy"]["maxReceiveCount"] > report_handler.ATTEMPTS + 1


def test_reports_are_retained_and_private(resources: dict[str, Any]) -> None:
    assert resources["Reports"]["DeletionPolicy"] == "RetainExceptOnCreate"
    properties = resources["Reports"]["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert "ExpirationInDays" not in rules["versions"], "what is current stays for good"
    assert rules["versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] >= 30
    assert all(properties["PublicAccessBlockConfiguration"].values())
    [statement] = resources["ReportsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"


def test_the_stage_is_throttled_and_its_log_holds_no_credential(resources: dict[str, Any]) -> None:
    [stage] = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    route_settings = stage["Properties"]["DefaultRouteSettings"]
    assert route_settings["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
    assert route_settings["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}
    logged = stage["Properties"]["AccessLogSettings"]["Format"].lower()
    assert json.loads(logged)
    for word in ("authorization", "header", 'path"', "querystring", "body"):
        assert word not in logged
    assert resources["ApiLog"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    [api] = of_type(resources, "AWS::ApiGatewayV2::Api").values()
    assert "CorsConfiguration" not in api["Properties"]


def test_open_routes_have_small_throttles_of_their_own(resources: dict[str, Any]) -> None:
    [stage] = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["RouteSettings"]
    open_routes = {route_key for route_key, each in ROUTES.items() if each.is_open}
    open_routes |= {
        route_key.replace("GET ", "HEAD ") for route_key in open_routes if "GET " in route_key
    }
    assert set(settings) == open_routes | {"$default"}
    for each in settings.values():
        assert 1 <= each["ThrottlingRateLimit"] <= 100
        assert each["ThrottlingBurstLimit"] == 2 * each["ThrottlingRateLimit"]


def test_alarms(resources: dict[str, Any]) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    watched = set()
    for alarm in alarms.values():
        properties = alarm["Properties"]
        for dimension in properties.get("Dimensions", ()):
            watched.add((properties["MetricName"], json.dumps(dimension["Value"])))
        assert properties["AlarmActions"]["Fn::If"][0] == "HasAlarmTopic"
        assert properties["OKActions"] == properties["AlarmActions"]
    for name in FUNCTIONS:
        assert ("Errors", json.dumps({"Ref": name})) in watched
        assert ("Throttles", json.dumps({"Ref": name})) in watched
    assert ("IteratorAge", json.dumps({"Ref": "Notify"})) in watched
    for queue, resource in of_type(resources, "AWS::SQS::Queue").items():
        name = json.dumps({"Fn::GetAtt": [queue, "QueueName"]})
        metric = "ApproximateNumberOfMessagesVisible"
        if "RedrivePolicy" in resource["Properties"]:  # a queue that is worked off
            metric = "ApproximateAgeOfOldestMessage"
        assert (metric, name) in watched, f"nobody watches {queue}"


def test_the_domain_is_optional(template: dict[str, Any], resources: dict[str, Any]) -> None:
    for name in ("Domain", "DomainMapping"):
        assert resources[name]["Condition"] == "HasDomain"
    assert template["Parameters"]["DomainName"]["Default"] == ""
    assert resources["DomainMapping"]["Properties"]["Stage"] == {"Ref": "ApiApiGatewayDefaultStage"}


def test_every_parameter_is_documented(template: dict[str, Any]) -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"].strip().endswith("."), name
        assert f"`{name}`" in guide, f"docs/deploy.md does not mention {name}"
    for name in template["Outputs"]:
        assert f"`{name}`" in guide, f"docs/deploy.md does not mention {name}"


# --- What an account may demand -----------------------------------------------------------------------


def test_a_key_and_a_boundary_of_your_own_are_used_everywhere(resources: dict[str, Any]) -> None:
    key = {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
    for function in of_type(resources, "AWS::Lambda::Function").values():
        assert function["Properties"]["KmsKeyArn"] == key
    for log in of_type(resources, "AWS::Logs::LogGroup").values():
        assert log["Properties"]["KmsKeyId"] == key
    for queue in of_type(resources, "AWS::SQS::Queue").values():
        assert queue["Properties"]["KmsMasterKeyId"] == key
    for bucket in of_type(resources, "AWS::S3::Bucket").values():
        [rule] = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        condition, with_key, _ = rule["Fn::If"]
        assert condition == "HasKmsKey"
        used = with_key["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
        assert used == {"Ref": "KmsKeyArn"}
    assert resources["Table"]["Properties"]["SSESpecification"]["KMSMasterKeyId"] == key
    boundary = ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assert role["Properties"]["PermissionsBoundary"] == {"Fn::If": boundary}, name
        if name == "DeploymentRole":
            continue  # it reads and writes nothing that is encrypted
        [policy] = role["Properties"]["Policies"]
        granted = [
            each
            for each in policy["PolicyDocument"]["Statement"]
            if each.get("Fn::If", [""])[0] == "HasKmsKey"
        ]
        assert granted == [
            {
                "Fn::If": [
                    "HasKmsKey",
                    {
                        "Effect": "Allow",
                        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                        "Resource": {"Ref": "KmsKeyArn"},
                    },
                    {"Ref": "AWS::NoValue"},
                ]
            }
        ], name


def test_the_stack_works_on_a_table_that_it_has_taken_over(resources: dict[str, Any]) -> None:
    """Nothing but what chooses refers to the table that the stack makes."""
    assert resources["Table"]["Condition"] == "HasOwnTable"
    for name, resource in resources.items():
        text = json.dumps(resource)
        for reference in ('{"Ref": "Table"}', '"Fn::GetAtt": ["Table",', "${Table}", "${Table."):
            for part in text.split(reference)[:-1]:
                assert '"Fn::If": ["HasOwnTable", ' in part[-60:], f"{name}: {reference}"
    for name in ("TableReadThrottles", "TableWriteThrottles", "Dashboard"):
        assert '"Ref": "RestoredTableName"' in json.dumps(resources[name])


# --- Deployments ----------------------------------------------------------------------------------------

PERMISSION_BYTES = 450  # a statement as Lambda keeps it, with names of usual length
POLICY_BYTES = 20_480  # of a function's, or an alias's, own policy


def test_what_may_invoke_a_function_fits_into_its_policy(resources: dict[str, Any]) -> None:
    permissions = Counter(
        json.dumps(each["Properties"]["FunctionName"])
        for each in of_type(resources, "AWS::Lambda::Permission").values()
    )
    assert permissions
    for function, number in permissions.items():
        assert number * PERMISSION_BYTES < POLICY_BYTES, function


def test_new_code_is_tried_with_a_few_and_taken_back(resources: dict[str, Any]) -> None:
    for name in FUNCTIONS.keys() - {"Entitlements"}:
        assert resources[f"{name}{ALIAS}"]["Properties"]["Name"] == "live"
    groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup")
    assert set(groups) == {"ActivateDeploymentGroup", "ConsumeDeploymentGroup"}
    for name in ("Activate", "Consume"):
        group = groups[f"{name}DeploymentGroup"]["Properties"]
        watched = {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]}
        assert watched == {f"{name}NewErrors", "UnexpectedErrors", "AnswersUnavailable"}
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        policy = resources[f"{name}{ALIAS}"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert policy["DeploymentGroupName"] == {"Ref": f"{name}DeploymentGroup"}
        reserved = resources[name]["Properties"]["ReservedConcurrentExecutions"]["Fn::If"]
        assert reserved == [
            f"Reserves{name}",
            {"Ref": f"{name}ReservedConcurrency"},
            {"Ref": "AWS::NoValue"},
        ]
        [version] = [
            key
            for key, each in of_type(resources, "AWS::Lambda::Version").items()
            if each["Properties"]["FunctionName"] == {"Ref": name}
        ]
        dimensions = resources[f"{name}NewErrors"]["Properties"]["Dimensions"]
        by_name = {each["Name"]: each["Value"] for each in dimensions}
        assert by_name["ExecutedVersion"] == {"Fn::GetAtt": [version, "Version"]}


def versions(packages: str = "s3://bucket/key", **parameters: str) -> set[str]:
    """The names of the versions that SAM publishes."""
    template = read_template()
    for name, resource in template["Resources"].items():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = f"s3://bucket/{name}"
    template["Resources"]["Packages"]["Properties"]["ContentUri"] = packages
    expanded = expand(template, {"BootstrapKeyHash": "0" * 64, **parameters})["Resources"]
    return set(of_type(expanded, "AWS::Lambda::Version"))


def test_a_changed_layer_or_parameter_is_a_new_version(template: dict[str, Any]) -> None:
    """A version's name follows from all that a function is: code, settings, packages, parameters."""
    first = versions()
    assert len(first) == len(FUNCTIONS) - 1
    assert versions() == first
    assert not versions("s3://bucket/other") & first
    for changed in ({"LogLevel": "WARNING"}, {"BootstrapKeyHash": "1" * 64}):
        assert not versions(**changed) & first, "old code would go on with an old value"
    for name in FUNCTIONS.keys() - {"Entitlements"}:
        properties = template["Resources"][name]["Properties"]
        assert properties["AutoPublishAlias"] == "live"
        assert properties["AutoPublishAliasAllProperties"] is True


# --- For whoever runs it --------------------------------------------------------------------------------


def test_every_parameter_has_its_group(template: dict[str, Any]) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    named = [name for group in groups for name in group["Parameters"]]
    assert sorted(named) == sorted(template["Parameters"])


EMITTED = re.compile(r"""count\(\s*"(\w+)"(?: if .*? else "(\w+)")?""")


def test_the_dashboard_shows_what_exists(resources: dict[str, Any]) -> None:
    text, values = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert set(values) == {"TableName"}
    body = json.loads(re.sub(r"\$\{[^}]+\}", "x", text))
    named = set(re.findall(r"\$\{([A-Za-z]+)", text)) - {"AWS", "TableName"}
    assert named <= set(resources)
    assert set(FUNCTIONS) <= named, "every function is on it"
    emitted = {
        name
        for folder in ("shared", "functions")
        for path in (ROOT / folder).rglob("*.py")
        for found in EMITTED.findall(path.read_text())
        for name in found
    }
    emitted |= {name for name, kind in vars(problems).items() if isinstance(kind, type)}
    places = set()
    for widget in body["widgets"]:
        places.add((widget["x"], widget["y"]))
        assert widget["properties"]["title"]
        for namespace, metric, *rest in widget["properties"]["metrics"]:
            dimensions = rest[: len(rest) // 2 * 2] if isinstance(rest[-1], dict) else rest
            if namespace == "Overdraft":
                assert metric in emitted, metric
                assert dimensions[0] == "service"
            else:
                assert metric in OF_AWS[namespace], metric
    assert len(places) == len(body["widgets"]), "none lies on another"


# From the lists of metrics in AWS's guides.
OF_AWS = {
    "AWS/ApiGateway": {"Count", "4xx", "5xx", "Latency", "IntegrationLatency", "DataProcessed"},
    "AWS/Lambda": {
        "Invocations",
        "Errors",
        "Throttles",
        "Duration",
        "ConcurrentExecutions",
        "IteratorAge",
        "AsyncEventsDropped",
    },
    "AWS/DynamoDB": {
        "ReadThrottleEvents",
        "WriteThrottleEvents",
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
    },
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
}


def test_every_alarm_has_a_line_in_the_runbook(resources: dict[str, Any]) -> None:
    runbook = (ROOT / "docs/running.md").read_text()
    for name in of_type(resources, "AWS::CloudWatch::Alarm"):
        kind = re.sub("^(" + "|".join(FUNCTIONS) + ")", "Activate", name)
        assert f"`{name}`" in runbook or f"`{kind}`, ..." in runbook, name
