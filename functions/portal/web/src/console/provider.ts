// Signing in with the vendor's OpenID provider: authorization code with PKCE.

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
import { Said } from "./api";
import { t } from "./messages";
import { signIn } from "./session";

const SIGNING_IN = "overdraft.sign-in";

const page = document.documentElement.dataset;
const server = (): AuthorizationServer => ({
  issuer: page.issuer ?? "",
  authorization_endpoint: page.authorize ?? "",
  token_endpoint: page.token ?? "",
});
const client = (): Client => ({ client_id: page.client ?? "" });
const redirectUri = () => location.origin + location.pathname;

/** Go to the provider, in this window or in one that was opened for it. */
export async function goToProvider(opened: Window | null): Promise<void> {
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
  const inWindow = Boolean(opened);
  const kept = JSON.stringify({ state, nonce, verifier, inWindow, hash: location.hash });
  (opened ?? window).sessionStorage.setItem(SIGNING_IN, kept);
  (opened ?? window).location.assign(address);
}

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
