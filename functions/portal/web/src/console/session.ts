// Who is signed in: by an API key, a link that works once, or the vendor's OpenID provider.

import {
  type AuthorizationServer,
  allowInsecureRequests,
  authorizationCodeGrantRequest,
  type Client,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  None,
  processAuthorizationCodeResponse,
  validateAuthResponse,
} from "oauth4webapi";
import { call, Said } from "./api";
import { t } from "./messages";
import type { NewSession, Session } from "./types";

const STORED = "overdraft.session";
const SIGNING_IN = "overdraft.sign-in";
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
  if (current) return;
  others.postMessage({ ask: true });
  for (let tries = 0; tries < 5 && !current; tries++) await new Promise((go) => setTimeout(go, 40));
}

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

const server = (): AuthorizationServer => ({
  issuer: page.issuer ?? "",
  authorization_endpoint: page.authorize ?? "",
  token_endpoint: page.token ?? "",
});
const client = (): Client => ({ client_id: page.client ?? "" });
const redirectUri = () => location.origin + location.pathname;

/** Go to the provider. `inWindow`: in a window of its own, so that nothing typed here is lost. */
export async function goToProvider(inWindow: boolean): Promise<void> {
  const opened = inWindow ? window.open("about:blank", "_blank", "width=520,height=720") : null;
  const [state, nonce, verifier] = [
    generateRandomState(),
    generateRandomNonce(),
    generateRandomCodeVerifier(),
  ];
  const address = new URL(page.authorize ?? "");
  for (const [name, value] of Object.entries({
    client_id: page.client ?? "",
    redirect_uri: redirectUri(),
    response_type: "code",
    scope: "openid email profile",
    state,
    nonce,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  }))
    address.searchParams.set(name, value);
  const kept = JSON.stringify({ state, nonce, verifier, inWindow, hash: location.hash });
  (opened ?? window).sessionStorage.setItem(SIGNING_IN, kept);
  (opened ?? window).location.assign(address);
}

/** Whether the provider has just sent somebody back here. */
export const isBack = (): boolean => /[?&](code|error)=/.test(location.search);

/** Sign in with what the provider sent; returns what went wrong, or nothing. */
export async function comeBack(): Promise<void> {
  const given = new URL(location.href);
  const kept = JSON.parse(sessionStorage.getItem(SIGNING_IN) ?? "null");
  sessionStorage.removeItem(SIGNING_IN);
  history.replaceState(null, "", location.pathname + (kept?.hash ?? ""));
  if (!kept) throw new Said(t.notBegunHere);
  let parameters: URLSearchParams;
  try {
    parameters = validateAuthResponse(server(), client(), given, kept.state);
  } catch {
    throw new Said(t.signInRefused(given.searchParams.get("error") ?? ""));
  }
  const answer = await authorizationCodeGrantRequest(
    server(),
    client(),
    None(),
    parameters,
    redirectUri(),
    kept.verifier,
    { [allowInsecureRequests]: (page.token ?? "").startsWith("http:") },
  );
  const tokens = await processAuthorizationCodeResponse(server(), client(), answer, {
    expectedNonce: kept.nonce,
    requireIdToken: true,
  });
  await signIn({ idToken: tokens.id_token ?? "" });
  if (kept.inWindow) window.close();
}
