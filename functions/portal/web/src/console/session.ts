// Who is signed in: by an API key, a link that works once, or the vendor's OpenID provider.

import { call } from "./api";
import type { NewSession, Session } from "./types";

const STORED = "overdraft.session";
const ACTIVE_MS = 5 * 60_000;

let current: NewSession | null = stored();
// What somebody might do stays known when the session ends: the page under the sign-in stays as it is.
let scopes: string[] = current?.scopes ?? [];
const listeners = new Set<() => void>();
// Tabs of one browser share the session: a new one asks, and the others hear when it ends.
const others = new BroadcastChannel("overdraft-console");

function stored(): NewSession | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
    const isGood = typeof found?.session === "string" && Date.parse(found.expiresAt) > Date.now();
    return isGood ? found : null;
  } catch {
    return null;
  }
}

function set(session: NewSession | null): void {
  current = session;
  hold(Boolean(session));
  if (session) scopes = session.scopes;
  if (session) sessionStorage.setItem(STORED, JSON.stringify(session));
  else sessionStorage.removeItem(STORED);
  for (const each of listeners) each();
}

others.onmessage = ({ data }) => {
  if (data.ask && current && Date.parse(current.expiresAt) > Date.now())
    others.postMessage({ session: current });
  if (data.session && !current) set(data.session);
  if (data.ended && data.ended === current?.sessionId) leave();
};

const onSignOut = new Set<() => void>();
/** Call back when somebody has signed out, in this tab or another: nothing may be seen any more. */
export function watchSignOut(listener: () => void): () => void {
  onSignOut.add(listener);
  return () => onSignOut.delete(listener);
}

function leave(): void {
  set(null);
  for (const each of onSignOut) each();
}

/** Call back whenever somebody signs in or out. */
export function watchSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const session = (): NewSession | null => current;
export const credential = (): string | null => current?.session ?? null;

/** Whether the person may do what needs one of these scopes. */
export const may = (...wanted: string[]): boolean => wanted.some((each) => scopes.includes(each));

/** Forget a session that the service does not know any more. */
export const endSession = (): void => set(null);

/** Sign in by an API key or the code of a link. */
export async function signIn(proof: { apiKey: string } | { code: string } | { idToken: string }) {
  const { data } = await call<NewSession>("POST", "v1/console/sessions", { body: proof });
  set(data);
  others.postMessage({ session: data });
}

export async function signOut(): Promise<void> {
  const id = current?.sessionId;
  await call("DELETE", "v1/console/session").catch(() => {});
  others.postMessage({ ended: id });
  leave();
}

/** Wait a moment for another tab that is signed in. */
export async function askOthers(): Promise<void> {
  if (current || !(await isAnotherSignedIn())) return;
  others.postMessage({ ask: true });
  for (let tries = 0; tries < 5 && !current; tries++) await new Promise((go) => setTimeout(go, 40));
}

// A tab holds it while it is signed in: a new one learns at once that there is nobody to ask.
const LOCK = "overdraft-console";
let unlock: (() => void) | null = null;

function hold(isSignedIn: boolean): void {
  if (isSignedIn === Boolean(unlock)) return;
  unlock?.();
  unlock = null;
  if (!isSignedIn) return;
  const held = new Promise<void>((resolve) => {
    unlock = resolve;
  });
  void navigator.locks?.request(LOCK, { mode: "shared" }, () => held);
}

/** Without locks, which an insecure address does not have, nobody knows: yes. */
async function isAnotherSignedIn(): Promise<boolean> {
  const found = await navigator.locks?.query();
  return found?.held?.some(({ name }) => name === LOCK) ?? true;
}

hold(Boolean(current));

// --- Somebody is at the page -----------------------------------------------------------------

let saidAt = Date.now();

/** Say now and then that somebody is at the page, so that the session goes on. */
export function watchActivity(): void {
  const say = () => {
    if (!current || Date.now() - saidAt < ACTIVE_MS) return;
    saidAt = Date.now();
    call<Session>("POST", "v1/console/session/activity").then(
      ({ data }) => current && set({ ...current, ...data }),
      () => {},
    );
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, say, { passive: true });
}

// --- The OpenID provider -------------------------------------------------------------------------

const page = document.documentElement.dataset;
/** Whether people sign in with a provider; `unreachable`: there is one, and it does not answer. */
export const provider = (): "none" | "unreachable" | "ready" =>
  !page.client ? "none" : page.authorize ? "ready" : "unreachable";

/** Whether the provider has just sent somebody back here. */
export const isBack = (): boolean => /[?&](code|error)=/.test(location.search);
