"""`make console`: a new link that signs in to the console of the stack that runs here."""

from local.api import Api
from local.emulator import LocalError
from local.run import STACK_FILE, console_link, is_running, read_details, write_details


def main() -> None:
    """Print the link.

    Raises:
        LocalError: no stack runs here.
    """
    details = read_details()
    if not details or not is_running(details):
        raise LocalError("No stack runs here: start one with make run.")
    url = console_link(Api(details["apiUrl"], f"Bearer {details['apiKey']}"))
    write_details(STACK_FILE, {**details, "consoleUrl": url})
    print(url)
