// An OpenID provider with three people, one for each role: `node provider.mjs PORT REDIRECT_URI`.
// Its own pages take any password: it is for this machine alone.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const PEOPLE = {
  sales: { name: "Sam Sales", groups: ["Account Managers"] },
  support: { name: "Sue Support", groups: ["Helpdesk", "Everybody"] },
  admin: { name: "Ada Admin", groups: ["Licensing Admins"] },
  nobody: { name: "Ned Nobody", groups: ["Everybody"] },
};

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "overdraft-console",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code"],
      response_types: ["code"],
      redirect_uris: [redirectUri],
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  // The ID token has what is asked for, as most providers send it.
  conformIdTokenClaims: false,
  clientBasedCORS: (_context, origin) => new URL(redirectUri).origin === origin,
  features: { devInteractions: { enabled: true } },
  findAccount: (_context, id) =>
    PEOPLE[id] && {
      accountId: id,
      claims: () => ({
        sub: id,
        email: `${id}@vendor.example`,
        email_verified: true,
        ...PEOPLE[id],
      }),
    },
});
provider.listen(Number(port), "127.0.0.1", () => console.log(`ready ${issuer}`));
