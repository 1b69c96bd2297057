"""The TypeScript client as a stranger has it: packed, installed into an empty folder, used."""

import json
import subprocess
from pathlib import Path

import pytest

from local.stack import Stack
from tests.integration.conftest import CheckedApi, Customer
from tools import ROOT, build

RUNTIMES = ROOT / "tests/support/runtimes"
SOURCE = """
const [url, licenseKey, apiKey, state] = process.argv.slice(2);
const client = new Overdraft(url, { licenseKey, state });
const seat = await client.seat("alice@acme.com", { name: "Alice" });
console.log(seat.source, seat.isOverdraft, seat.seats.used, seat.activation.signedLease !== null);
for (const name of ["bob", "carol"]) {
  console.log(name, (await client.take(name)).isOverdraftSeat);
}
await client.take("dave").catch((error) => {
  console.log(error instanceof Denied, error.type, error.seats.used, error.seats.hardCap);
});
console.log((await client.consume("exports", 3)).usage.used);
client.meter("exports").add(4);
const vendor = new Vendor(url, { apiKey });
const { product } = await vendor.call("GET /v1/entitlements/{entitlementId}", {
  path: { entitlementId: seat.activation.entitlementId },
});
console.log(product, new FakeStack().sell().slice(0, 8));
"""
# It ends here, and gives the seat back without being asked to.
ESM = f"""
import {{ Denied, Overdraft, Vendor }} from "@overdraft/client";
import {{ FakeStack }} from "@overdraft/client/testing";
{SOURCE}
"""
CJS = f"""
const {{ Denied, Overdraft, Vendor }} = require("@overdraft/client");
const {{ FakeStack }} = require("@overdraft/client/testing");
(async () => {{
{SOURCE}
}})();
"""
# What is wrong has to be found: by `@ts-expect-error`, which fails if there is nothing.
TYPED = """
import { Denied, Overdraft, type Seat, Vendor } from "@overdraft/client";
import { FakeStack } from "@overdraft/client/testing";
import { eventOf, parse } from "@overdraft/client/webhooks";

export async function work(): Promise<string> {
  const client = new Overdraft("https://x", { licenseKey: "lic_x" });
  await using seat: Seat = await client.seat("alice", { onChange: (_, change) => change.kind });
  const used: number | undefined = seat.seats?.used;
  const consumed = await client.consume("exports", 3, { occurredAt: new Date() });
  const vendor = new Vendor("https://x", { apiKey: "key_x" });
  const made = await vendor.call("POST /v1/entitlements", {
    body: { product: "P", customer: { name: "C" }, seatCount: 3 },
  });
  for await (const each of vendor.list("GET /v1/entitlements", { query: { search: "x" } })) {
    console.log(each.customer.name);
  }
  // @ts-expect-error: it needs a path
  await vendor.call("GET /v1/entitlements/{entitlementId}");
  // @ts-expect-error: there is no such call
  await vendor.call("GET /v1/nothing");
  // @ts-expect-error: it is a number
  await client.consume("exports", "3");
  const event = await parse("{}", new Headers(), "whsec_x");
  console.log(used, consumed.usage.used, new FakeStack().sell(), eventOf({}).id, Denied);
  return `${made.entitlementId} ${event.customer}`;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client, and with nothing of ours besides."""
    build.build_typescript_client()
    folder = tmp_path_factory.mktemp("client")
    packing = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
    subprocess.run(packing, cwd=build.TYPESCRIPT, check=True, capture_output=True)
    [packed] = folder.glob("*.tgz")
    (folder / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run([*install, str(packed)], cwd=folder, check=True, capture_output=True)
    installed = {path.name for path in (folder / "node_modules").iterdir()}
    assert installed - {".package-lock.json"} == {"@overdraft", "jose"}
    (folder / "program.mjs").write_text(ESM)
    (folder / "program.cjs").write_text(CJS)
    return folder


@pytest.fixture(scope="module")
def runtimes() -> dict[str, list[str]]:
    """The command of each runtime."""
    build.install_node_packages(RUNTIMES)
    modules = RUNTIMES / "node_modules"
    [old] = modules.glob("node-*/bin/node")
    [deno] = modules.glob("@deno/*/deno")
    [bun] = modules.glob("@oven/*/bin/bun")
    return {
        "node": ["node"],
        "node18": [str(old)],
        "deno": [str(deno), "run", "--allow-all", "--quiet"],
        "bun": [str(bun)],
    }


@pytest.mark.parametrize(
    ("runtime", "program"),
    [
        ("node", "program.mjs"),
        ("node", "program.cjs"),
        ("node18", "program.mjs"),
        ("node18", "program.cjs"),
        ("deno", "program.mjs"),
        ("bun", "program.mjs"),
    ],
)
def test_a_stranger_uses_it(
    stack: Stack,
    api: CheckedApi,
    folder: Path,
    runtimes: dict[str, list[str]],
    tmp_path: Path,
    runtime: str,
    program: str,
) -> None:
    limits = [{"key": "exports", "limit": 10}]
    customer = Customer(api, leasePeriod="PT1H", usageLimits=limits)
    key = api.expect(201, "POST", f"{customer.path}/license-keys", {})["key"]
    command = [*runtimes[runtime], program, stack.api_url, key, stack.bootstrap_key, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=folder
    )
    assert done.stdout.splitlines() == [
        "server false 1 true",
        "bob false",
        "carol true",
        "true hard-cap-reached 3 3",
        "3",
        "CAD Pro lic_fake",
    ], done.stderr
    assert done.returncode == 0
    held = api.expect(200, "GET", customer.seats)["items"]
    assert sorted(each["seatId"] for each in held) == ["bob", "carol"]
    usage = api.expect(200, "GET", f"{customer.path}/usage")["items"][0]["usage"]
    assert usage["used"] == 7
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}  # no lock is left


@pytest.mark.parametrize("resolution", ["node16", "bundler"])
@pytest.mark.parametrize("kind", ["mts", "cts"])
def test_it_is_typed(folder: Path, resolution: str, kind: str) -> None:

    (folder / f"typed.{kind}").write_text(TYPED)
    modules = str(build.TYPESCRIPT / "node_modules")
    options = {
        "strict": True,
        "noEmit": True,
        "target": "ES2022",
        "lib": ["ES2022", "ESNext.Disposable"],
        "module": "node16" if resolution == "node16" else "esnext",
        "moduleResolution": resolution,
        "typeRoots": [f"{modules}/@types"],
        "types": ["node"],
        "skipLibCheck": False,
    }
    config = {"compilerOptions": options, "files": [f"typed.{kind}"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    command = ["node", f"{modules}/typescript/bin/tsc", "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
