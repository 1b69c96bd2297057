// Usage limits: where they stand, their periods, and corrections.

import { useState } from "preact/hooks";
import { count, day } from "../../format";
import { call, Failure, post, read, Said } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { may } from "../session";
import type { Correction, CurrentUsage, Entitlement, Page, Shown, UsagePeriod } from "../types";
import {
  Card,
  Dialog,
  Empty,
  Folded,
  Input,
  Loaded,
  Meter,
  OverdraftFields,
  Quoted,
  Select,
  say,
  Table,
  When,
} from "../ui";
import { type Overdraft, overdraftOf, PeriodFields, PriceFields, priceOf } from "./terms-form";

const LIVE_MS = 10_000;

export function UsageLimits({ of, path, reload }: Shown) {
  const found = useData(`${path}/usage`, () => read<Page<CurrentUsage>>(`${path}/usage`), LIVE_MS);
  const [isEditing, setEditing] = useState(false);
  const mayChange = may("manage") && of.status !== "deleted";
  return (
    <>
      {mayChange && (
        <p class="above">
          <button type="button" class="primary" onClick={() => setEditing(true)}>
            {t.changeLimits}
          </button>
        </p>
      )}
      <Loaded of={found}>
        {(page) =>
          page.items.length ? (
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
          ) : (
            <Empty title={t.noLimits}>{mayChange ? t.noLimitsHint : ""}</Empty>
          )
        }
      </Loaded>
      {isEditing && (
        <EditLimits
          of={of}
          path={path}
          onClose={() => setEditing(false)}
          onDone={async () => {
            await Promise.all([reload(), found.reload()]);
          }}
        />
      )}
    </>
  );
}

type Terms = NonNullable<Entitlement["usageLimits"]>[number];
type Resets = "monthly" | "on_renewal" | "never";

/** The limits as the form has them: what it does not know stays as it is. */
export function limitsIn(form: FormData, rows: (Terms | null)[]): unknown[] {
  return rows.flatMap((before, n) => {
    const value = (name: string) => String(form.get(`${name}${n}`) ?? "").trim();
    if (form.get(`remove${n}`) === "on") return [];
    if (!value("key") && Number(value("limit"))) throw new Said(t.keyNeeded);
    if (!value("key")) return [];
    const { hardCap: _, ...kept } = before ?? ({} as Partial<Terms>);
    const cap = value("cap");
    return [
      {
        ...kept,
        key: value("key"),
        limit: Number(value("limit")),
        resetSchedule: value("resets"),
        customerCap: cap ? Number(cap) : null,
        overdraftPrice: priceOf(form, `price${n}`, "freeUnits"),
        overdraftLimit: overdraftOf(form, `overdraft${n}`),
      },
    ];
  });
}

function EditLimits({
  of,
  path,
  onClose,
  onDone,
}: {
  of: Entitlement;
  path: string;
  onClose: () => void;
  onDone: () => Promise<void>;
}) {
  const version = useData(`${path}#limits`, () => call<Entitlement>("GET", path));
  // As they were when the dialog was opened; a new one has no terms yet.
  const [rows, setRows] = useState<(Terms | null)[]>(() =>
    of.usageLimits?.length ? [...of.usageLimits] : [null],
  );
  const submit = async (form: FormData) => {
    const plain = ({ hardCap: _, ...kept }: Terms) => kept;
    const before = (of.usageLimits ?? []).map(plain);
    let etag: string | null;
    try {
      ({ etag } = await call("PATCH", path, {
        body: { usageLimits: limitsIn(form, rows) },
        etag: version.data?.etag ?? null,
      }));
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "precondition-failed") throw error;
      // The list is replaced as a whole: saving it would write over what somebody else did.
      await onDone();
      throw new Said(t.limitsConflict);
    }
    await onDone();
    say(t.changedOf(of.customer.name), "status", async () => {
      await call("PATCH", path, { body: { usageLimits: before }, etag });
      await onDone();
    });
  };
  return (
    <Dialog title={t.changeLimits} onClose={onClose} onSubmit={submit}>
      {rows.map((each, n) => (
        <LimitFields key={each?.key ?? `new-${n}`} of={each} n={n} />
      ))}
      <button type="button" class="quiet" onClick={() => setRows([...rows, null])}>
        {t.addLimit}
      </button>
    </Dialog>
  );
}

export function LimitFields({ of, n }: { of: Terms | null; n: number }) {
  const limit = (of?.overdraftLimit ?? { type: "none" }) as Overdraft;
  const [type, setType] = useState(limit.type);
  return (
    <fieldset>
      <legend>{of ? of.key : t.newLimit}</legend>
      <div class="columns">
        <Input
          label={t.limitKey}
          name={`key${n}`}
          pointer={`/usageLimits/${n}/key`}
          maxLength={64}
          defaultValue={of?.key ?? ""}
          readOnly={of !== null}
          hint={of ? "" : t.limitKeyHint}
        />
        <Input
          label={t.purchased}
          name={`limit${n}`}
          pointer={`/usageLimits/${n}/limit`}
          type="number"
          min={0}
          defaultValue={of?.limit ?? 0}
        />
        <OverdraftFields
          type={type}
          value={limit.value}
          onType={setType}
          absolute={t.more}
          prefix={`overdraft${n}`}
          pointer={`/usageLimits/${n}/overdraftLimit`}
        />
        <Select
          label={t.period}
          name={`resets${n}`}
          pointer={`/usageLimits/${n}/resetSchedule`}
          defaultValue={of?.resetSchedule ?? "never"}
          options={(["monthly", "on_renewal", "never"] as Resets[]).map((each) => [
            each,
            t.resets[each],
          ])}
        />
      </div>
      <Folded title={t.moreOfLimit}>
        <div class="columns">
          {type !== "none" && (
            <PeriodFields
              of={limit}
              prefix={`overdraft${n}`}
              pointer={`/usageLimits/${n}/overdraftLimit`}
            />
          )}
          <Input
            label={t.customerCap}
            name={`cap${n}`}
            pointer={`/usageLimits/${n}/customerCap`}
            type="number"
            min={0}
            defaultValue={of?.customerCap ?? ""}
            hint={t.customerCapHint}
          />
        </div>
        <PriceFields
          of={of?.overdraftPrice}
          prefix={`price${n}`}
          pointer={`/usageLimits/${n}/overdraftPrice`}
          bases={["units"]}
          free={of?.overdraftPrice?.freeUnits}
        />
      </Folded>
      {of && (
        <label class="check">
          <input type="checkbox" name={`remove${n}`} /> {t.removeLimit}
        </label>
      )}
    </fieldset>
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
