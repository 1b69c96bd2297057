"""What accounts commonly demand of a template, and why ours does not do all of it."""

import json
import os
import subprocess
from pathlib import Path

from tools import ROOT

FUNCTIONS = (
    "Activate",
    "Consume",
    "Release",
    "Entitlements",
    "Portal",
    "Notify",
    "Deliver",
    "Report",
)
# What is not done, by whom, and why.
EXCEPTIONS = {
    # Dead-letter queues are for asynchronous invocations. The API and the queues invoke
    # synchronously; the stream has a bucket for what is given up; the ticks do the same work a
    # minute later; Report has a destination (EventInvokeConfig), which checkov does not look at.
    "CKV_AWS_116": FUNCTIONS,
    # A VPC brings nothing: DynamoDB, SQS and S3 are reached with IAM, and webhooks need a way out.
    "CKV_AWS_117": FUNCTIONS,
    # Reserved concurrency is taken from the whole account's. It is a parameter for the two functions
    # that must answer; Deliver and Report are bounded by their queues' mappings, Notify by its shards.
    "CKV_AWS_115": tuple(name for name in FUNCTIONS if name not in ("Activate", "Consume")),
    # Logs of access to buckets that two roles read would themselves need a bucket, and a policy of
    # who reads that. CloudTrail's data events are the account's to switch on.
    "CKV_AWS_18": ("StreamFailures", "Reports"),
    # It holds copies of stream records for 30 days, each written once; they name people.
    "CKV_AWS_21": ("StreamFailures",),
}


def test_checkov_finds_nothing_but_what_is_explained(tmp_path: Path) -> None:
    command = [
        str(ROOT / ".venv-checkov/bin/checkov"),
        "--file",
        "template.yaml",
        "--framework",
        "cloudformation",
        "--skip-download",
        "--compact",
        "--output",
        "json",
    ]
    environment = {**os.environ, "HOME": str(tmp_path), "LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100
    found: dict[str, set[str]] = {}
    for failed in report["results"]["failed_checks"]:
        found.setdefault(failed["check_id"], set()).add(failed["resource"].rpartition(".")[2])
    assert found == {check: set(names) for check, names in EXCEPTIONS.items()}
