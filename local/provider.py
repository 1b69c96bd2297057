"""An OpenID provider on this machine, with three people of three roles: `make run SSO=1`."""

import subprocess
import threading
from types import TracebackType

from local.emulator import LocalError, free_port
from tools import ROOT, build

FOLDER = ROOT / "local/provider"
START_SECONDS = 60
CLIENT_ID = "overdraft-console"
# Which role each group of `provider.mjs` gives.
ROLES = "Account Managers=sales,Helpdesk=support,Licensing Admins=admin"


class Provider:
    """Runs the provider in a process of its own. `redirect_uri` is the console's address."""

    def __init__(self, redirect_uri: str) -> None:
        self._redirect_uri = redirect_uri
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()

    @property
    def parameters(self) -> dict[str, str]:
        """The stack's parameters with which people sign in here."""
        return {
            "ConsoleIssuer": f"http://127.0.0.1:{self.port}",
            "ConsoleClientId": CLIENT_ID,
            "ConsoleRolesClaim": "groups",
            "ConsoleRoles": ROLES,
        }

    def __enter__(self) -> "Provider":
        try:
            build.install_node_packages(FOLDER)
        except build.BuildError as error:
            raise LocalError(str(error)) from None
        self._process = subprocess.Popen(
            ["node", "provider.mjs", str(self.port), self._redirect_uri],
            cwd=FOLDER,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        assert self._process.stdout is not None
        is_ready = any(line.startswith("ready ") for line in self._process.stdout)
        timer.cancel()
        if not is_ready:
            self._process.kill()
            raise LocalError("The sign-in provider did not start: see local/provider/provider.mjs.")
        # What it says later is nobody's business, and must not fill the pipe.
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
