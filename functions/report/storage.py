"""The files of reports in their bucket. Readers use links that expire."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import aws


class Store:
    """One bucket. A name is `<report id>/<file>`."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put(self, name: str, content: bytes | Path, content_type: str) -> int:
        """Write a file; return its size in bytes."""
        if isinstance(content, Path):
            with content.open("rb") as body:
                self._put(name, body, content_type)
            return content.stat().st_size
        self._put(name, content, content_type)
        return len(content)

    def _put(self, name: str, body: Any, content_type: str) -> None:
        aws.client("s3").put_object(
            Bucket=self._bucket, Key=name, Body=body, ContentType=content_type
        )

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file as they come; it needs no more memory than one line."""
        body = aws.client("s3").get_object(Bucket=self._bucket, Key=name)["Body"]
        for line in body.iter_lines(chunk_size=65_536):
            if line:
                yield line

    def part(self, name: str, start: int, length: int) -> tuple[bytes, int] | None:
        """At most `length` bytes of a file from `start`, and the size of the whole, in bytes.

        None: there is no such file. `start` is within it.
        """
        try:
            answer = aws.client("s3").get_object(
                Bucket=self._bucket, Key=name, Range=f"bytes={start}-{start + length - 1}"
            )
        except aws.Errors as error:
            if _status_of(error) == 404:
                return None
            raise
        return answer["Body"].read(), int(answer["ContentRange"].rpartition("/")[2])

    def has(self, name: str) -> bool:
        """Whether such a file exists."""
        try:
            aws.client("s3").head_object(Bucket=self._bucket, Key=name)
        except aws.Errors as error:
            if _status_of(error) == 404:
                return False
            raise
        return True

    def delete(self, folder: str, kept: str | None = None) -> None:
        """Delete every file whose name begins with `prefix`, but not with `kept`."""
        client = aws.client("s3")
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=folder
        ):
            names = [each["Key"] for each in page.get("Contents", ())]
            keys = [{"Key": name} for name in names if not kept or not name.startswith(kept)]
            if keys:
                answer = client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys})
                if answer.get("Errors"):
                    raise OSError(f"{len(answer['Errors'])} files were not deleted")


def _status_of(error: Exception) -> int | None:
    """The HTTP status of a refused call; None: there was no answer."""
    answer: dict[str, Any] = getattr(error, "response", {})
    status: int | None = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
