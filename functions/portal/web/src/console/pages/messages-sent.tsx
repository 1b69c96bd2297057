// What was said about an entitlement: e-mails sent, and what customers asked for.

import { useState } from "preact/hooks";
import { count } from "../../format";
import { call, read, readAll } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { to } from "../router";
import { may } from "../session";
import type { Event, EventDelivery, Page, SeatRequest, SentEmail, Shown } from "../types";
import {
  Badge,
  Card,
  DeliveryState,
  Dialog,
  Empty,
  Field,
  Json,
  Loaded,
  Quoted,
  Select,
  say,
  Table,
  When,
} from "../ui";

const MOST_ENDPOINTS = 1_000;

/** What happened, as events; and whether webhooks got each of them. */
function Events({ path }: { path: string }) {
  const events = useData(`${path}/events`, () => read<Page<Event>>(`${path}/events`));
  const [shown, setShown] = useState<Event | null>(null);
  return (
    <Card title={t.eventsOf} wide>
      <Loaded of={events}>
        {(page) =>
          page.items.length ? (
            <Table head={[t.when, t.what, ""]}>
              {page.items.map((each) => (
                <tr key={each.id}>
                  <td>
                    <When at={each.timestamp} />
                  </td>
                  <td>
                    {t.eventNames[each.type] ?? each.type} <small>{each.type}</small>
                  </td>
                  <td>
                    <button type="button" class="quiet" onClick={() => setShown(each)}>
                      {t.details}
                    </button>
                  </td>
                </tr>
              ))}
            </Table>
          ) : (
            <Empty title={t.noEvents}>{t.noEventsHint}</Empty>
          )
        }
      </Loaded>
      {shown && <EventDialog of={shown} onClose={() => setShown(null)} />}
    </Card>
  );
}

function EventDialog({ of, onClose }: { of: Event; onClose: () => void }) {
  const path = may("manage", "support") ? `v1/deliveries/${of.deliveryId}` : null;
  const found = useData(path, () => readAll<EventDelivery>(path ?? "", {}, MOST_ENDPOINTS));
  const { deliveryId: _, ...event } = of;
  return (
    <Dialog title={t.eventNames[of.type] ?? of.type} onClose={onClose}>
      {path && (
        <Loaded of={found} rows={1}>
          {(items) =>
            items.length ? (
              <Table head={[t.endpoint, t.state, [t.attempts]]}>
                {items.map((each) => (
                  <tr key={each.webhookId}>
                    <td>
                      <a href={to(["webhooks", each.webhookId])}>
                        <Quoted text={each.url} />
                      </a>
                    </td>
                    <td>
                      <DeliveryState of={each} />
                    </td>
                    <td class="number">{each.attempts.length}</td>
                  </tr>
                ))}
              </Table>
            ) : (
              <p class="soft">{t.notDelivered}</p>
            )
          }
        </Loaded>
      )}
      <Json of={event} />
    </Dialog>
  );
}

export function Messages({ path }: Shown) {
  const emails = useData(`${path}/emails`, () => read<Page<SentEmail>>(`${path}/emails`));
  const requests = useData(`${path}/seat-requests`, () =>
    read<Page<SeatRequest>>(`${path}/seat-requests`),
  );
  const [answering, setAnswering] = useState<SeatRequest | null>(null);
  return (
    <div class="cards">
      <Card title={t.requests} wide>
        <Loaded of={requests} rows={1}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.when, t.person, t.what, t.message, t.state, ""]}>
                {page.items.map((each) => (
                  <tr key={each.requestId}>
                    <td>
                      <When at={each.requestedAt} />
                    </td>
                    <td>
                      <Quoted text={each.requester ?? each.requestedBy} />
                    </td>
                    <td>
                      {each.seats
                        ? t.moreSeats(each.seats)
                        : `${count(each.quantity ?? 0)} ${each.usageKey ?? ""}`}
                    </td>
                    <td>
                      <Quoted text={each.message ?? "–"} />
                    </td>
                    <td>
                      <Badge kind={each.status === "open" ? "near" : ""}>
                        {t.requestStates[each.status]}
                      </Badge>
                    </td>
                    <td>
                      {may("manage", "report", "support") && (
                        <button type="button" class="quiet" onClick={() => setAnswering(each)}>
                          {t.answer}
                        </button>
                      )}
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noRequests}>{t.noRequestsHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      <Card title={t.emails} wide>
        <Loaded of={emails}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.when, t.to, t.subject, t.state]}>
                {page.items.map((each) => (
                  <tr key={`${each.from}${each.to}`}>
                    <td>
                      <When at={each.sentAt} />
                    </td>
                    <td>
                      <Quoted text={each.to} />
                    </td>
                    <td>
                      <Quoted text={each.subject ?? "–"} />
                    </td>
                    <td>
                      {t.mailStates[each.status]}
                      {each.failure && (
                        <small>
                          <Quoted text={each.failure} />
                        </small>
                      )}
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noEmails}>{t.noEmailsHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      <Events path={path} />
      {answering && (
        <Dialog
          title={t.answer}
          onClose={() => setAnswering(null)}
          onSubmit={async (form) => {
            await call("PATCH", `${path}/seat-requests/${answering.requestId}`, {
              body: {
                status: String(form.get("status")),
                note: String(form.get("note") ?? "").trim() || null,
              },
            });
            await requests.reload();
            say(t.answered);
          }}
        >
          <Select
            label={t.state}
            name="status"
            defaultValue={answering.status}
            options={(["open", "answered", "declined"] as const).map((each) => [
              each,
              t.requestStates[each],
            ])}
          />
          <Field label={t.note} hint={t.customerSees}>
            {(id) => (
              <textarea
                id={id}
                name="note"
                rows={3}
                maxLength={1000}
                defaultValue={answering.note ?? ""}
              />
            )}
          </Field>
        </Dialog>
      )}
    </div>
  );
}
