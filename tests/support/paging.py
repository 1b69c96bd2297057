"""Lists of the API, whole."""

from typing import Any

from local.api import Api


def list_all(api: Api, path: str) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        page = api.expect(200, "GET", f"{path}{'&' if '?' in path else '?'}limit=100{token}")
        items += page["items"]
        if page["nextPageToken"] is None:
            return items
        token = f"&pageToken={page['nextPageToken']}"
