// Usage limits: where they stand, their periods, and corrections.

import { useState } from "preact/hooks";
import { count, day } from "../../format";
import { post, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { may } from "../session";
import type { Correction, CurrentUsage, Entitlement, Page, UsagePeriod } from "../types";
import { Card, Dialog, Empty, Input, Loaded, Meter, Quoted, say, Table, When } from "../ui";

export function UsageLimits({
  path,
}: {
  of: Entitlement;
  path: string;
  reload: () => Promise<void>;
}) {
  const found = useData(`${path}/usage`, () => read<Page<CurrentUsage>>(`${path}/usage`), 10_000);
  return (
    <Loaded of={found}>
      {(page) => (
        <div class="cards">
          {page.items.map((each) => (
            <Limit
              key={each.key}
              of={each}
              path={`${path}/usage/${encodeURIComponent(each.key)}`}
              reload={found.reload}
            />
          ))}
        </div>
      )}
    </Loaded>
  );
}

function Limit({
  of,
  path,
  reload,
}: {
  of: CurrentUsage;
  path: string;
  reload: () => Promise<void>;
}) {
  const [isCorrecting, setCorrecting] = useState(false);
  const periods = useData(`${path}/periods`, () =>
    read<Page<UsagePeriod>>(`${path}/periods`, { limit: 24 }),
  );
  const corrections = useData(`${path}/corrections`, () =>
    read<Page<Correction>>(`${path}/corrections`),
  );
  const { usage } = of;
  const correct = async (form: FormData) => {
    const quantity = Number(form.get("quantity"));
    await post(`${path}/corrections`, { quantity, reason: String(form.get("reason")) });
    await Promise.all([reload(), corrections.reload()]);
    say(t.corrected, "status", async () => {
      await post(`${path}/corrections`, { quantity: -quantity, reason: t.undoReason });
      await Promise.all([reload(), corrections.reload()]);
    });
  };
  return (
    <Card
      title={of.key}
      wide
      tools={
        may("manage") && (
          <button type="button" class="quiet" onClick={() => setCorrecting(true)}>
            {t.correct}
          </button>
        )
      }
    >
      <p class="lead">{t.consumedOf(usage.used, usage.purchased)}</p>
      <Meter used={usage.used} purchased={usage.purchased} hardCap={usage.hardCap} />
      <p class="soft">
        {t.resets[of.resetSchedule]} {of.periodEnd ? t.until(day(of.periodEnd)) : ""}
      </p>
      {of.overdraft && (
        <p>
          {t.overdraftClock(
            day(of.overdraft.since),
            day(of.overdraft.endsAt),
            of.overdraft.recoversAt ? day(of.overdraft.recoversAt) : null,
          )}
        </p>
      )}
      <h3>{t.periods}</h3>
      <Loaded of={periods} rows={2}>
        {(page) =>
          page.items.length ? (
            <Table head={[t.began, t.ended, [t.used], [t.purchased], [t.hardCap]]}>
              {page.items.map((each) => (
                <tr key={each.periodStart}>
                  <td>
                    <When at={each.periodStart} />
                  </td>
                  <td>
                    <When at={each.periodEnd} />
                  </td>
                  <td class="number">{count(each.usage.used)}</td>
                  <td class="number">{count(each.usage.purchased)}</td>
                  <td class="number">
                    {each.usage.hardCap === null ? "∞" : count(each.usage.hardCap)}
                  </td>
                </tr>
              ))}
            </Table>
          ) : (
            <Empty title={t.noPeriods} />
          )
        }
      </Loaded>
      <h3>{t.corrections}</h3>
      <Loaded of={corrections} rows={1}>
        {(page) =>
          page.items.length ? (
            <Table head={[t.when, t.by, [t.quantity], t.reason]}>
              {page.items.map((each) => (
                <tr key={each.correctedAt}>
                  <td>
                    <When at={each.correctedAt} />
                  </td>
                  <td>
                    <Quoted text={each.actor} />
                  </td>
                  <td class="number">{count(each.quantity)}</td>
                  <td>
                    <Quoted text={each.reason} />
                  </td>
                </tr>
              ))}
            </Table>
          ) : (
            <Empty title={t.noCorrections} />
          )
        }
      </Loaded>
      {isCorrecting && (
        <Dialog
          title={t.correctTitle(of.key)}
          onClose={() => setCorrecting(false)}
          onSubmit={correct}
        >
          <p class="soft">{t.correctMeans(usage.used)}</p>
          <Input
            label={t.quantity}
            name="quantity"
            type="number"
            required
            step={1}
            hint={t.quantityHint}
          />
          <Input label={t.reason} name="reason" required maxLength={200} />
        </Dialog>
      )}
    </Card>
  );
}
