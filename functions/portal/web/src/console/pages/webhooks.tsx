// Webhook endpoints: whether they answer, what was sent to them, and sending it again.

import { useState } from "preact/hooks";
import { call, post, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { go, setQuery, to, usePlace } from "../router";
import type { Delivery, DeliveryDetails, Page, Webhook } from "../types";
import {
  Action,
  Badge,
  Card,
  DeliveryState,
  Dialog,
  Empty,
  Input,
  Json,
  Loaded,
  Quoted,
  SecretDialog,
  Select,
  say,
  Table,
  When,
} from "../ui";

const LIVE_MS = 10_000;

export function Webhooks() {
  const found = useData(
    "v1/webhooks",
    () => read<Page<Webhook>>("v1/webhooks", { limit: 100 }),
    LIVE_MS,
  );
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const make = async (form: FormData) => {
    const made = await post<{ secret: string }>("v1/webhooks", saidIn(form));
    setSecret(made.secret);
    await found.reload();
  };
  return (
    <>
      <header class="page-head">
        <h1>{t.webhooks}</h1>
        <button type="button" class="primary" onClick={() => setMaking(true)}>
          {t.newWebhook}
        </button>
      </header>
      <Card wide>
        <Loaded of={found}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.endpoint, t.events, t.state, t.made]}>
                {page.items.map((each) => (
                  <tr key={each.webhookId}>
                    <td>
                      <a href={to(["webhooks", each.webhookId])}>
                        <Quoted text={each.url} />
                      </a>
                      {each.description && (
                        <small>
                          <Quoted text={each.description} />
                        </small>
                      )}
                    </td>
                    <td>
                      <Quoted text={each.eventTypes.join(", ")} />
                    </td>
                    <td>
                      <Health of={each} />
                    </td>
                    <td>
                      <When at={each.createdAt} />
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noWebhooks}>{t.noWebhooksHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      {isMaking && (
        <Dialog
          title={t.newWebhook}
          onClose={() => setMaking(false)}
          onSubmit={make}
          submit={t.create}
        >
          <EndpointFields />
        </Dialog>
      )}
      {secret && (
        <SecretDialog
          title={t.secretOf}
          label={t.signingSecret}
          text={secret}
          onClose={() => setSecret(null)}
        />
      )}
    </>
  );
}

const Health = ({ of }: { of: Webhook }) =>
  of.enabled ? (
    <Badge kind="within">{t.enabled}</Badge>
  ) : (
    <>
      <Badge kind="full">{t.disabled}</Badge>
      {of.disabledReason && (
        <small>
          <Quoted text={of.disabledReason} /> <When at={of.disabledAt} />
        </small>
      )}
    </>
  );

function saidIn(form: FormData) {
  const types = String(form.get("eventTypes") ?? "")
    .split(/[\s,]+/)
    .filter(Boolean);
  return {
    url: String(form.get("url")).trim(),
    format: form.get("format"),
    eventTypes: types.length ? types : ["*"],
    description: String(form.get("description") ?? "").trim() || null,
  };
}

function EndpointFields({ of }: { of?: Webhook }) {
  return (
    <>
      <Input
        label={t.address}
        name="url"
        type="url"
        required
        defaultValue={of?.url ?? "https://"}
      />
      <Select
        label={t.format}
        name="format"
        defaultValue={of?.format ?? "standard"}
        options={[
          ["standard", "Standard Webhooks"],
          ["slack", "Slack"],
          ["teams", "Microsoft Teams"],
        ]}
      />
      <Input
        label={t.eventTypes}
        name="eventTypes"
        defaultValue={of?.eventTypes.join(", ") ?? "*"}
        hint={t.eventTypesHint}
      />
      <Input
        label={t.description}
        name="description"
        maxLength={200}
        defaultValue={of?.description ?? ""}
      />
    </>
  );
}

export function WebhookPage({ id }: { id: string }) {
  const { query } = usePlace();
  const path = `v1/webhooks/${encodeURIComponent(id)}`;
  const status = query.get("status");
  const found = useData(path, () => read<Webhook>(path), LIVE_MS);
  const deliveries = useData(
    `${path}/deliveries?${status}`,
    () => read<Page<Delivery>>(`${path}/deliveries`, { limit: 100, status }),
    LIVE_MS,
  );
  const [isEditing, setEditing] = useState(false);
  const [isEnding, setEnding] = useState(false);
  const [isResending, setResending] = useState(false);
  const [shown, setShown] = useState<Delivery | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const refresh = () => Promise.all([found.reload(), deliveries.reload()]);
  const resend = async (delivery: Delivery) => {
    await post(`${path}/deliveries/${delivery.deliveryId}/resend`);
    say(t.resent);
    await refresh();
  };
  return (
    <Loaded of={found} rows={5}>
      {(webhook) => (
        <>
          <header class="page-head">
            <div>
              <h1 class="address">
                <Quoted text={webhook.url} />
              </h1>
              <p class="soft">
                <Health of={webhook} />{" "}
                {webhook.description && <Quoted text={webhook.description} />}
              </p>
            </div>
            <div class="tools">
              <Action
                class="quiet"
                act={async () => {
                  await post(`${path}/test`);
                  say(t.testSent);
                  await refresh();
                }}
              >
                {t.sendTest}
              </Action>
              <button type="button" class="quiet" onClick={() => setResending(true)}>
                {t.resendFailed}
              </button>
              <Action
                class="quiet"
                act={async () => {
                  await call("PATCH", path, { body: { enabled: !webhook.enabled } });
                  await refresh();
                }}
              >
                {webhook.enabled ? t.disable : t.enable}
              </Action>
              <Action
                class="quiet"
                act={async () => {
                  setSecret((await post<{ secret: string }>(`${path}/rotate-secret`)).secret);
                }}
              >
                {t.newSecret}
              </Action>
              <button type="button" class="quiet" onClick={() => setEnding(true)}>
                {t.deleteIt}
              </button>
              <button type="button" class="primary" onClick={() => setEditing(true)}>
                {t.change}
              </button>
            </div>
          </header>
          <Card
            title={t.deliveries}
            wide
            tools={
              <select
                aria-label={t.statusFilter}
                value={status ?? ""}
                onChange={(event) => setQuery({ status: event.currentTarget.value || null })}
              >
                <option value="">{t.everyDelivery}</option>
                {(["pending", "succeeded", "failed"] as const).map((each) => (
                  <option key={each} value={each}>
                    {t.deliveryStates[each]}
                  </option>
                ))}
              </select>
            }
          >
            <Loaded of={deliveries}>
              {(page) =>
                page.items.length ? (
                  <Table head={[t.when, t.event, t.state, [t.attempts], ""]}>
                    {page.items.map((each) => (
                      <tr key={each.deliveryId}>
                        <td>
                          <When at={each.createdAt} />
                        </td>
                        <td>
                          <button type="button" class="link" onClick={() => setShown(each)}>
                            {each.type}
                          </button>
                          {each.entitlementId && (
                            <small>
                              <a href={to(["entitlements", each.entitlementId])}>
                                {each.entitlementId}
                              </a>
                            </small>
                          )}
                        </td>
                        <td>
                          <DeliveryState of={each} />
                        </td>
                        <td class="number">{each.attempts.length}</td>
                        <td>
                          <Action class="quiet" act={() => resend(each)}>
                            {t.resend}
                          </Action>
                        </td>
                      </tr>
                    ))}
                  </Table>
                ) : (
                  <Empty title={t.noDeliveries}>{t.noDeliveriesHint}</Empty>
                )
              }
            </Loaded>
          </Card>
          {shown && (
            <DeliveryDialog
              of={shown}
              path={`${path}/deliveries/${shown.deliveryId}`}
              onClose={() => setShown(null)}
            />
          )}
          {isEditing && (
            <Dialog
              title={t.change}
              onClose={() => setEditing(false)}
              onSubmit={async (form) => {
                await call("PATCH", path, { body: saidIn(form) });
                await refresh();
              }}
            >
              <EndpointFields of={webhook} />
            </Dialog>
          )}
          {isResending && (
            <Dialog
              title={t.resendFailed}
              submit={t.resend}
              onClose={() => setResending(false)}
              onSubmit={async (form) => {
                await post(`${path}/resend`, {
                  since: new Date(String(form.get("since"))).toISOString(),
                });
                say(t.resent);
                await refresh();
              }}
            >
              <Input label={t.eventsSince} name="since" type="datetime-local" required />
            </Dialog>
          )}
          {isEnding && (
            <Dialog
              title={t.deleteWebhook}
              submit={t.deleteIt}
              danger
              onClose={() => setEnding(false)}
              onSubmit={async () => {
                await call("DELETE", path);
                go(to(["webhooks"]));
              }}
            >
              <p>
                <Quoted text={webhook.url} />
              </p>
            </Dialog>
          )}
          {secret && (
            <SecretDialog
              title={t.secretOf}
              label={t.signingSecret}
              text={secret}
              onClose={() => setSecret(null)}
            />
          )}
        </>
      )}
    </Loaded>
  );
}

/** One delivery: what was sent, how often, and what the endpoint answered. */
function DeliveryDialog({
  of,
  path,
  onClose,
}: {
  of: Delivery;
  path: string;
  onClose: () => void;
}) {
  const found = useData(path, () => read<DeliveryDetails>(path));
  return (
    <Dialog title={of.type} onClose={onClose}>
      <p class="soft">
        {of.eventId}{" "}
        {of.entitlementId && !of.isTest && (
          <a href={to(["entitlements", of.entitlementId])}>{of.entitlementId}</a>
        )}
      </p>
      {of.failure && (
        <p>
          <Quoted text={of.failure} />
        </p>
      )}
      <Table head={[t.when, t.answer, [t.took]]}>
        {of.attempts.map((each) => (
          <tr key={each.at}>
            <td>
              <When at={each.at} />
            </td>
            <td>
              {each.responseStatus ?? ""} {each.error && <Quoted text={each.error} />}
            </td>
            <td class="number">{each.durationMs} ms</td>
          </tr>
        ))}
      </Table>
      <Loaded of={found} rows={2}>
        {(delivery) => (
          <>
            {delivery.answer && (
              <>
                <h3>{t.lastAnswer}</h3>
                <pre class="json">{delivery.answer}</pre>
              </>
            )}
            <h3>{t.sentBody}</h3>
            <Json of={delivery.event} />
          </>
        )}
      </Loaded>
    </Dialog>
  );
}
