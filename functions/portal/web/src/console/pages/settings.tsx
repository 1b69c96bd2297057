// API keys, sessions, and who changed what of everything.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { call, post, read, readAll, Said } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { setQuery, usePlace } from "../router";
import { session } from "../session";
import type { ApiKey, Session, Stack } from "../types";
import {
  Badge,
  Card,
  Confirm,
  Dialog,
  Empty,
  Input,
  Loaded,
  Quoted,
  SecretDialog,
  Select,
  say,
  Table,
  When,
} from "../ui";
import { History } from "./audit";

/** The most keys and sessions that are shown. */
const MOST = 1_000;
const SCOPES = ["activate", "manage", "report", "support", "admin"];

export function Settings() {
  const { query } = usePlace();
  const keys = useData("v1/api-keys", () => readAll<ApiKey>("v1/api-keys", {}, MOST));
  const sessions = useData(
    "v1/console/sessions",
    () => readAll<Session>("v1/console/sessions", {}, MOST),
    30_000,
  );
  const [isMaking, setMaking] = useState(false);
  const [key, setKey] = useState<string | null>(null);
  const make = async (form: FormData) => {
    const scopes = form.getAll("scopes");
    if (!scopes.length) throw new Said(t.oneScope);
    setKey(
      (
        await post<{ key: string }>("v1/api-keys", {
          name: String(form.get("name")).trim(),
          scopes,
          ...(form.get("expiresIn") ? { expiresIn: form.get("expiresIn") } : {}),
        })
      ).key,
    );
    await keys.reload();
  };
  const own = session()?.sessionId;
  return (
    <>
      <header class="page-head">
        <h1>{t.settings}</h1>
      </header>
      <div class="cards">
        <Card
          title={t.apiKeys}
          wide
          tools={
            <button type="button" class="primary" onClick={() => setMaking(true)}>
              {t.newKey}
            </button>
          }
        >
          <Loaded of={keys}>
            {(page) =>
              page.length ? (
                <Table head={[t.name, t.scopes, t.made, t.lastUsed, t.worksUntil, ""]}>
                  {page.map((each) => (
                    <tr key={each.keyId}>
                      <td>
                        <Quoted text={each.name} />
                        <small>{each.keyId}</small>
                      </td>
                      <td>{each.scopes.join(", ")}</td>
                      <td>
                        <When at={each.createdAt} />
                      </td>
                      <td>
                        <When at={each.lastUsedAt} />
                      </td>
                      <td>
                        {each.expiresAt && Date.parse(each.expiresAt) <= now() ? (
                          <Badge kind="">{t.ended}</Badge>
                        ) : (
                          <When at={each.expiresAt} />
                        )}
                      </td>
                      <td>
                        <Confirm
                          label={t.revoke}
                          title={t.revokeApiKey(each.name)}
                          means={
                            each.keyId === session()?.actor ? t.revokeOwnMeans : t.revokeApiKeyMeans
                          }
                          act={async () => {
                            await call("DELETE", `v1/api-keys/${each.keyId}`);
                            await keys.reload();
                            say(t.revoked);
                          }}
                        />
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noKeys} />
              )
            }
          </Loaded>
        </Card>
        <Card title={t.sessions} wide>
          <Loaded of={sessions}>
            {(page) => (
              <Table head={[t.person, t.scopes, t.signedInWith, t.since, t.endsAt, ""]}>
                {page.map((each) => {
                  const ends = Math.min(Date.parse(each.idleAt), Date.parse(each.expiresAt));
                  return (
                    <tr key={each.sessionId}>
                      <td>
                        <Quoted text={each.name ?? each.actor} />
                        {each.name && (
                          <small>
                            <Quoted text={each.actor} />
                          </small>
                        )}
                        {each.sessionId === own && <Badge kind="within">{t.thisOne}</Badge>}
                      </td>
                      <td>{each.scopes.join(", ")}</td>
                      <td>{t.waysIn[each.signedInWith]}</td>
                      <td>
                        <When at={each.createdAt} />
                      </td>
                      <td>
                        {ends > now() ? (
                          <When at={new Date(ends).toISOString()} />
                        ) : (
                          <Badge kind="">{t.ended}</Badge>
                        )}
                      </td>
                      <td>
                        {ends > now() && each.sessionId !== own && (
                          <Confirm
                            label={t.end}
                            title={t.endOf(each.name ?? each.actor)}
                            means={t.endMeans}
                            act={async () => {
                              await call("DELETE", `v1/console/sessions/${each.sessionId}`);
                              await sessions.reload();
                            }}
                          />
                        )}
                      </td>
                    </tr>
                  );
                })}
              </Table>
            )}
          </Loaded>
        </Card>
        <Card
          title={t.auditLog}
          wide
          tools={
            <>
              <select
                aria-label={t.what}
                value={query.get("type") ?? ""}
                onChange={(event) => setQuery({ type: event.currentTarget.value || null })}
              >
                <option value="">{t.everyChange}</option>
                {Object.entries(t.entryTypes).map(([type, text]) => (
                  <option key={type} value={type}>
                    {text}
                  </option>
                ))}
              </select>
              <input
                type="search"
                aria-label={t.byWhom}
                placeholder={t.byWhom}
                value={query.get("actor") ?? ""}
                onChange={(event) => setQuery({ actor: event.currentTarget.value.trim() || null })}
              />
            </>
          }
        >
          <History
            path="v1/audit"
            filters={{ type: query.get("type"), actor: query.get("actor") }}
            showsOf
          />
        </Card>
        <StackCard />
      </div>
      {isMaking && (
        <Dialog title={t.newKey} onClose={() => setMaking(false)} onSubmit={make} submit={t.create}>
          <Input label={t.name} name="name" required maxLength={200} />
          <Select
            label={t.worksFor}
            name="expiresIn"
            defaultValue="P90D"
            options={[
              ["P30D", t.days(30)],
              ["P90D", t.days(90)],
              ["P365D", t.days(365)],
              ["", t.untilRevoked],
            ]}
          />
          <fieldset>
            <legend>{t.scopes}</legend>
            {SCOPES.map((each) => (
              <label class="check" key={each}>
                <input type="checkbox" name="scopes" value={each} /> {each}
                <small>{t.scopeMeans[each]}</small>
              </label>
            ))}
          </fieldset>
        </Dialog>
      )}
      {key && (
        <SecretDialog title={t.apiKey} label={t.apiKey} text={key} onClose={() => setKey(null)} />
      )}
    </>
  );
}

/** How the stack was deployed; parameters are changed by deploying it again. */
function StackCard() {
  const found = useData("v1/stack", () => read<Stack>("v1/stack"));
  return (
    <Card title={t.stack} wide>
      <Loaded of={found}>
        {(stack) => (
          <>
            <p>
              {t.stackIs(stack.name, stack.version, stack.region)}{" "}
              <Badge kind={/FAILED|ROLLBACK/.test(stack.status) ? "full" : "within"}>
                {stack.status}
              </Badge>{" "}
              <small>
                {t.deployed} <When at={stack.updatedAt ?? stack.createdAt} />
              </small>
            </p>
            <details>
              <summary>{t.parameters(stack.parameters.length)}</summary>
              <Table head={[t.name, t.value]}>
                {stack.parameters.map((each) => (
                  <tr key={each.name}>
                    <td>{each.name}</td>
                    <td>
                      <Quoted text={each.value || "–"} />
                    </td>
                  </tr>
                ))}
              </Table>
              <p class="soft">{t.parametersHint}</p>
            </details>
          </>
        )}
      </Loaded>
    </Card>
  );
}
