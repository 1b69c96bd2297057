// What opens an entitlement: links for the customer's people, keys for their software.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { call, post, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { may } from "../session";
import type { LicenseKey, Page, PortalLink, Shown } from "../types";
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

export function Access({ path }: Shown) {
  const links = useData(`${path}/portal-links`, () =>
    read<Page<PortalLink>>(`${path}/portal-links`, { limit: 100 }),
  );
  const mayKeys = may("manage");
  const keys = useData(mayKeys ? `${path}/license-keys` : null, () =>
    read<Page<LicenseKey>>(`${path}/license-keys`, { limit: 100 }),
  );
  const [isLinking, setLinking] = useState(false);
  const [isKeying, setKeying] = useState(false);
  const [made, setMade] = useState<{ label: string; text: string } | null>(null);
  const makeLink = async (form: FormData) => {
    const found = await post<{ url: string }>(`${path}/portal-links`, {
      role: form.get("role"),
      expiresIn: form.get("expiresIn"),
      name: String(form.get("name") ?? "").trim() || null,
      hidesNames: form.get("hidesNames") === "on",
    });
    setMade({ label: t.portalLink, text: found.url });
    await links.reload();
  };
  const makeKey = async (form: FormData) => {
    const found = await post<{ key: string }>(`${path}/license-keys`, {
      name: String(form.get("name") ?? "").trim() || null,
    });
    setMade({ label: t.licenseKey, text: found.key });
    await keys.reload();
  };
  const revoke = async (what: string, list: { reload: () => Promise<void> }) => {
    await call("DELETE", `${path}/${what}`);
    await list.reload();
    say(t.revoked);
  };
  return (
    <div class="cards">
      <Card
        title={t.portalLinks}
        wide
        tools={
          <button type="button" class="primary" onClick={() => setLinking(true)}>
            {t.newLink}
          </button>
        }
      >
        <Loaded of={links}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.name, t.role, t.made, t.worksUntil, ""]}>
                {page.items.map((each) => (
                  <tr key={each.linkId}>
                    <td>
                      <Quoted text={each.name ?? each.linkId} />
                      {each.hidesNames && <Badge kind="">{t.withoutNames}</Badge>}
                    </td>
                    <td>{t.portalRoles[each.role]}</td>
                    <td>
                      <When at={each.createdAt} />
                    </td>
                    <td>
                      {Date.parse(each.expiresAt) > now() ? (
                        <When at={each.expiresAt} />
                      ) : (
                        <Badge kind="">{t.ended}</Badge>
                      )}
                    </td>
                    <td>
                      <Confirm
                        label={t.revoke}
                        title={t.revokeLink}
                        means={t.revokeLinkMeans}
                        act={() => revoke(`portal-links/${each.linkId}`, links)}
                      />
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noLinks}>{t.noLinksHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      {mayKeys && (
        <Card
          title={t.licenseKeys}
          wide
          tools={
            <button type="button" class="primary" onClick={() => setKeying(true)}>
              {t.newKey}
            </button>
          }
        >
          <Loaded of={keys}>
            {(page) =>
              page.items.length ? (
                <Table head={[t.name, t.made, ""]}>
                  {page.items.map((each) => (
                    <tr key={each.keyId}>
                      <td>
                        <Quoted text={each.name ?? each.keyId} />
                        <small>{each.keyId}</small>
                      </td>
                      <td>
                        <When at={each.createdAt} />
                      </td>
                      <td>
                        <Confirm
                          label={t.revoke}
                          title={t.revokeKey}
                          means={t.revokeKeyMeans}
                          act={() => revoke(`license-keys/${each.keyId}`, keys)}
                        />
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noKeys}>{t.noKeysHint}</Empty>
              )
            }
          </Loaded>
        </Card>
      )}
      {isLinking && (
        <Dialog
          title={t.newLink}
          onClose={() => setLinking(false)}
          onSubmit={makeLink}
          submit={t.create}
        >
          <Input label={t.forWhom} name="name" maxLength={200} />
          <Select
            label={t.role}
            name="role"
            options={[
              ["viewer", t.portalRoles.viewer],
              ...(mayKeys ? [["admin", t.portalRoles.admin] as [string, string]] : []),
            ]}
          />
          <Select
            label={t.worksFor}
            name="expiresIn"
            options={[
              ["P7D", t.days(7)],
              ["P30D", t.days(30)],
              ["P90D", t.days(90)],
              ["P365D", t.days(365)],
            ]}
            defaultValue="P30D"
          />
          <label class="check">
            <input type="checkbox" name="hidesNames" /> {t.hideNames}
          </label>
        </Dialog>
      )}
      {isKeying && (
        <Dialog
          title={t.newKey}
          onClose={() => setKeying(false)}
          onSubmit={makeKey}
          submit={t.create}
        >
          <Input label={t.name} name="name" maxLength={200} />
          <p class="soft">{t.keyMeans}</p>
        </Dialog>
      )}
      {made && <SecretDialog title={made.label} {...made} onClose={() => setMade(null)} />}
    </div>
  );
}
