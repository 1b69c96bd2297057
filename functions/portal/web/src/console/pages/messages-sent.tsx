// What was said about an entitlement: e-mails sent, and what customers asked for.

import { useState } from "preact/hooks";
import { count } from "../../format";
import { call, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { may } from "../session";
import type { Page, SeatRequest, SentEmail, Shown } from "../types";
import { Badge, Card, Dialog, Empty, Field, Loaded, Quoted, Select, say, Table, When } from "../ui";

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
