"""Logger and metrics, set up the same in every function.

The service is the stack's name (`POWERTOOLS_SERVICE_NAME`). Credentials, bodies and query strings
are never logged. Log lines name a request by its id.
"""

import logging
import threading
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "Overdraft"

# A line does not say which thread and process wrote it: so it is not looked up for each.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

_lock = threading.Lock()
logger = Logger(log_uncaught_exceptions=False)
metrics = Metrics(namespace=NAMESPACE)


def count(name: str) -> None:
    """Count one more of something in this invocation; `flush` publishes it. Thread-safe."""
    with _lock:
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)


def begin(context: Any) -> None:
    """Add the invocation's id to every log line that follows, as Lambda's own lines have it."""
    logger.append_keys(functionRequestId=getattr(context, "aws_request_id", None))


def flush() -> None:
    """Write the invocation's metrics, if any, to the log (CloudWatch embedded metric format)."""
    if metrics.metric_set:
        metrics.flush_metrics()
