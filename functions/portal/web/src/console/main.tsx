// The vendor's console: who is signed in, where they are, what they see.

import "uplot/dist/uPlot.min.css";
import "../colors.css";
import "../graph.css";
import "./console.css";
import { render } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { applyAccent } from "../color";
import { vendorName } from "../dom";
import { locale } from "../language";
import { call, watchPending } from "./api";
import { forget } from "./data";
import { useSession } from "./hooks";
import { fetchLater, onDemand } from "./lazy";
import { speak, t } from "./messages";
import { Today } from "./pages/today";
import { type Command, Palette } from "./palette";
import { go, to, usePlace } from "./router";
import {
  askOthers,
  isBack,
  may,
  session,
  signIn,
  signOut,
  watchActivity,
  watchSignOut,
} from "./session";
import { SignIn } from "./sign-in";
import { Action, Empty, Messages, Quoted, textOf } from "./ui";
import { applyZone, ownZone } from "./zoned";

const SLOW_MS = 500;

// Today is what most people open first. The other pages come when they are wanted, or when there is
// time.
const EntitlementPage = onDemand(async () => (await import("./pages/entitlement")).EntitlementPage);
const Entitlements = onDemand(async () => (await import("./pages/entitlements")).Entitlements);
const Board = onDemand(async () => (await import("./pages/follow-up")).Board);
const Reports = onDemand(async () => (await import("./pages/reports")).Reports);
const ReportPage = onDemand(async () => (await import("./pages/reports")).ReportPage);
const StatementPage = onDemand(async () => (await import("./pages/reports")).StatementPage);
const Settings = onDemand(async () => (await import("./pages/settings")).Settings);
const WebhookPage = onDemand(async () => (await import("./pages/webhooks")).WebhookPage);
const Webhooks = onDemand(async () => (await import("./pages/webhooks")).Webhooks);
const Why = onDemand(async () => (await import("./pages/why")).Why);

interface PageOf {
  path: string;
  name: string;
  isAllowed: boolean;
}

/** The pages that a person may see. */
const pages = (): PageOf[] =>
  [
    { path: "today", name: t.today, isAllowed: may("manage", "report", "support") },
    { path: "entitlements", name: t.entitlements, isAllowed: may("manage", "report", "support") },
    { path: "why", name: t.whyShort, isAllowed: may("manage", "report", "support") },
    { path: "follow-ups", name: t.followUps, isAllowed: may("manage", "report", "support") },
    { path: "reports", name: t.reportsTitle, isAllowed: may("report") },
    { path: "webhooks", name: t.webhooks, isAllowed: may("manage", "support") },
    { path: "settings", name: t.settings, isAllowed: may("admin") },
  ].filter((each) => each.isAllowed);

function Shown() {
  const { parts } = usePlace();
  const [page = "today", id, tab = "overview"] = parts;
  const allowed = pages().map((each) => each.path);
  applyZone(ownZone);
  if (!allowed.length) return <Empty title={t.nothingAllowed}>{t.nothingAllowedHint}</Empty>;
  if (!allowed.includes(page)) return <Empty title={t.notHere}>{t.notHereHint}</Empty>;
  if (page === "today") return <Today />;
  if (page === "entitlements")
    return id ? <EntitlementPage key={id} id={id} tab={tab} /> : <Entitlements />;
  if (page === "why") return <Why />;
  if (page === "follow-ups") return <Board />;
  if (page === "reports" && id === "true-ups") return <StatementPage key={tab} id={tab} />;
  if (page === "reports") return id ? <ReportPage key={id} id={id} /> : <Reports />;
  if (page === "webhooks") return id ? <WebhookPage key={id} id={id} /> : <Webhooks />;
  return <Settings />;
}

/** A bar where anything takes longer than half a second. */
function Progress() {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    watchPending((number) => {
      if (number && !timer) timer = setTimeout(() => setSlow(true), SLOW_MS);
      if (number) return;
      clearTimeout(timer);
      timer = undefined;
      setSlow(false);
    });
  }, []);
  return (
    <div
      class={`progress${isSlow ? " shown" : ""}`}
      role="progressbar"
      aria-label={t.loading}
      hidden={!isSlow}
    />
  );
}

function Offline() {
  const [isOffline, set] = useState(!navigator.onLine);
  useEffect(() => {
    const onChange = () => set(!navigator.onLine);
    addEventListener("online", onChange);
    addEventListener("offline", onChange);
    return () => {
      removeEventListener("online", onChange);
      removeEventListener("offline", onChange);
    };
  }, []);
  return isOffline ? (
    <p class="stale" role="status">
      {t.offline}
    </p>
  ) : null;
}

function Console({ problem }: { problem: string }) {
  const signedIn = useSession();
  const { parts } = usePlace();
  const [was, setWas] = useState(Boolean(signedIn));
  const [isPaletteOpen, setPaletteOpen] = useState(false);
  const [isMenuOpen, setMenuOpen] = useState(false);
  useEffect(() => {
    if (signedIn) setWas(true);
  }, [signedIn]);
  useEffect(
    () =>
      watchSignOut(() => {
        forget();
        setWas(false);
      }),
    [],
  );
  // Before the first paint: a key that is pressed as soon as the page is seen counts.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || !session())
        return;
      event.preventDefault();
      setPaletteOpen(true);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const place = parts.join("/");
  useEffect(() => {
    setMenuOpen(false);
    const name = pages().find((each) => each.path === (parts[0] ?? "today"))?.name;
    document.title = [name, vendorName()].filter(Boolean).join(" · ");
    scrollTo(0, 0);
  }, [place]);
  if (!signedIn && !was) return <SignIn isAgain={false} problem={problem} />;
  const commands: Command[] = pages().map((each) => ({
    text: each.name,
    address: to([each.path]),
  }));
  const leave = async () => {
    await signOut();
    go(to([]), true);
  };
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        {t.skip}
      </button>
      <Progress />
      <header class="top">
        <button
          type="button"
          class="menu quiet"
          aria-expanded={isMenuOpen}
          aria-controls="nav"
          onClick={() => setMenuOpen(!isMenuOpen)}
        >
          {t.menu}
        </button>
        <a class="vendor" href={to(["today"])}>
          {vendorName()} <small>{t.console}</small>
        </a>
        <button type="button" class="find quiet" onClick={() => setPaletteOpen(true)}>
          {t.find} <kbd>Ctrl K</kbd>
        </button>
        <details class="who">
          <summary>
            <span class="hidden">{t.account}: </span>
            <Quoted text={signedIn?.name ?? signedIn?.actor ?? "–"} />
          </summary>
          <div>
            <p class="soft">{signedIn && <Quoted text={signedIn.actor} />}</p>
            <p class="soft">{t.mayDo(signedIn?.scopes.join(", ") ?? "")}</p>
            <Action class="quiet" act={leave}>
              {t.signOut}
            </Action>
          </div>
        </details>
      </header>
      <div class="body">
        <nav id="nav" class={isMenuOpen ? "open" : ""} aria-label={t.pages}>
          {pages().map((each) => (
            <a
              key={each.path}
              href={to([each.path])}
              {...(each.path === (parts[0] ?? "today") ? { "aria-current": "page" as const } : {})}
            >
              {each.name}
            </a>
          ))}
        </nav>
        <main id="main" tabIndex={-1}>
          <Offline />
          <Shown />
        </main>
      </div>
      <Messages />
      {isPaletteOpen && <Palette pages={commands} onClose={() => setPaletteOpen(false)} />}
      {!signedIn && <SignIn isAgain />}
    </>
  );
}

/** A link that signs in has its code in the fragment. It is taken out of the address at once. */
async function begin(): Promise<string> {
  const [, code, place = ""] = /^#code=([\w.-]*)(?:&to=)?(.*)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, "", `${location.pathname}#${place}`);
  try {
    if (isBack()) {
      await speaking; // what went wrong is said at once
      await (await import("./provider")).comeBack();
    }
    // Who is signed in stays so, in whatever tab: a link from somebody else changes nothing.
    else if (code && session()) await call("GET", "v1/console/session").catch(() => {});
    if (!session()) await askOthers();
    if (!session() && code) await signIn({ code });
  } catch (error) {
    await speaking;
    return textOf(error);
  }
  return "";
}

document.documentElement.lang = locale;
applyAccent(document.documentElement.dataset.accent ?? "");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  applyAccent(document.documentElement.dataset.accent ?? ""),
);
watchActivity();
const speaking = speak();
const [problem] = await Promise.all([begin(), speaking]);
const root = document.getElementById("console");
if (root) {
  root.replaceChildren();
  render(<Console problem={problem} />, root);
  fetchLater();
}
