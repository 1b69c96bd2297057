// What was agreed: shown, changed now or at a time, with what the change means; and its history.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { count, day } from "../../format";
import { call, Failure, post, read, Said } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { go, to } from "../router";
import { may } from "../session";
import type { Entitlement, EntitlementPatch, Page, ScheduledChange, Shown } from "../types";
import {
  Action,
  Badge,
  Card,
  Dialog,
  Empty,
  Field,
  Input,
  Loaded,
  OverdraftFields,
  Quoted,
  Select,
  say,
  Table,
  When,
} from "../ui";
import { fieldTime } from "../zoned";
import { History } from "./audit";

interface Overdraft {
  type: string;
  value?: number | null;
  period?: string | null;
  recovery?: string | null;
}

export function Terms({ of, path, reload }: Shown) {
  const [isEditing, setEditing] = useState(false);
  const [isEnding, setEnding] = useState(false);
  const scheduled = useData(`${path}/scheduled-changes`, () =>
    read<Page<ScheduledChange>>(`${path}/scheduled-changes`),
  );
  const setStatus = async (status: "active" | "suspended") => {
    const before = of.status === "suspended" ? "suspended" : "active";
    const { etag } = await call("PATCH", path, { body: { status } });
    await reload();
    say(t.statusSet[status], "status", async () => {
      await call("PATCH", path, { body: { status: before }, etag });
      await reload();
    });
  };
  const cancel = async (change: ScheduledChange) => {
    await call("DELETE", `${path}/scheduled-changes/${change.scheduledChangeId}`);
    await scheduled.reload();
  };
  return (
    <div class="cards">
      <Card
        title={t.tabs.terms}
        wide
        tools={
          may("manage") &&
          of.status !== "deleted" && (
            <>
              {of.status === "suspended" ? (
                <Action class="quiet" act={() => setStatus("active")}>
                  {t.reactivate}
                </Action>
              ) : (
                <Action class="quiet" act={() => setStatus("suspended")}>
                  {t.suspend}
                </Action>
              )}
              <button type="button" class="quiet" onClick={() => setEnding(true)}>
                {t.deleteIt}
              </button>
              <button type="button" class="primary" onClick={() => setEditing(true)}>
                {t.change}
              </button>
            </>
          )
        }
      >
        <dl class="terms">
          {termsOf(of).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <Quoted text={value} />
              </dd>
            </div>
          ))}
        </dl>
      </Card>
      <Card title={t.scheduledChanges} wide>
        <Loaded of={scheduled} rows={1}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.takesEffect, t.what, t.state, t.by, ""]}>
                {page.items.map((each) => (
                  <tr key={each.scheduledChangeId}>
                    <td>
                      <When at={each.effectiveAt} />
                    </td>
                    <td>
                      <Quoted
                        text={Object.entries(each.changes)
                          .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
                          .join(", ")}
                      />
                    </td>
                    <td>
                      <Badge kind={each.status === "failed" ? "full" : ""}>
                        {t.scheduled[each.status]}
                      </Badge>
                      {each.failure && (
                        <small>
                          <Quoted text={each.failure} />
                        </small>
                      )}
                    </td>
                    <td>
                      <Quoted text={each.createdBy} />
                    </td>
                    <td>
                      {each.status === "pending" && may("manage") && (
                        <Action class="quiet" act={() => cancel(each)}>
                          {t.cancel}
                        </Action>
                      )}
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noScheduled}>{may("manage") ? t.noScheduledHint : ""}</Empty>
            )
          }
        </Loaded>
      </Card>
      <Card title={t.history} wide>
        <History path={`${path}/changes`} version={of.updatedAt} />
      </Card>
      {isEditing && (
        <EditTerms
          of={of}
          path={path}
          onClose={() => setEditing(false)}
          onDone={async () => {
            await Promise.all([reload(), scheduled.reload()]);
          }}
        />
      )}
      {isEnding && (
        <Dialog
          title={t.deleteTitle}
          submit={t.deleteIt}
          danger
          onClose={() => setEnding(false)}
          onSubmit={async (form) => {
            if (form.get("name") !== of.customer.name) throw new Said(t.nameDiffers);
            await call("DELETE", path);
            say(t.deleted);
            go(to(["entitlements"]));
          }}
        >
          <p>{t.deleteMeans(of.seats?.used ?? 0)}</p>
          <Input label={t.typeName(of.customer.name)} name="name" required />
        </Dialog>
      )}
    </div>
  );
}

function overdraftText(of: Overdraft): string {
  if (of.type === "none") return t.none;
  if (of.type === "unlimited" && !of.period) return t.unlimited;
  if (of.type === "unlimited")
    return t.forAPeriod(t.unlimited, of.period ?? "", of.recovery ?? "–");
  const amount = of.type === "percentage" ? `${of.value} %` : count(of.value ?? 0);
  return of.period ? t.forAPeriod(amount, of.period, of.recovery ?? "–") : amount;
}

function termsOf(of: Entitlement): [string, string][] {
  const price = of.unitPrice;
  const found: [string, string | null | undefined | false][] = [
    [t.customer, [of.customer.name, of.customer.externalId].filter(Boolean).join(" · ")],
    [t.product, [of.product, of.sku].filter(Boolean).join(" · ")],
    [t.externalId, of.externalId],
    [t.seatsPurchased, of.seatCount != null && count(of.seatCount)],
    [t.overdraftLimit, of.seatCount != null && overdraftText(of.overdraftSeatLimit as Overdraft)],
    [t.hardCap, of.seatCount != null && (of.hardCap === null ? t.none : count(of.hardCap))],
    [t.customerCap, of.customerCap != null && count(of.customerCap)],
    ...(of.usageLimits ?? []).map((each): [string, string] => [
      each.key,
      t.limitTerms(
        count(each.limit),
        overdraftText((each.overdraftLimit ?? { type: "none" }) as Overdraft),
        t.resets[each.resetSchedule ?? "never"],
      ),
    ]),
    [t.leasePeriod, of.leasePeriod],
    [
      t.overdraftPrice,
      of.overdraftPrice && `${of.overdraftPrice.amount} ${of.overdraftPrice.currency}`,
    ],
    [t.unitPrice, price && `${price.amount} ${price.currency} / ${t.per[price.per]}`],
    [
      t.valid,
      [of.validFrom && t.from(day(of.validFrom)), of.validUntil && t.until(day(of.validUntil))]
        .filter(Boolean)
        .join(" ") || t.withoutEnd,
    ],
    [t.timeZone, of.timeZone],
    [t.thresholds, of.thresholds?.map((each) => `${each} %`).join(", ")],
    ...Object.entries(of.metadata ?? {}).map(([name, value]): [string, string] => [
      name,
      String(value),
    ]),
  ];
  return found.filter((each): each is [string, string] => Boolean(each[1]));
}

// --- Changing ------------------------------------------------------------------------------------

/** Seats and overdraft together, as the API has it: a percentage is rounded down. */
export function hardCapOf(purchased: number, { type, value }: Overdraft): number | null {
  const more = value ?? 0;
  if (type === "unlimited") return null;
  if (type === "absolute") return purchased + more;
  return type === "percentage" ? purchased + Math.floor((purchased * more) / 100) : purchased;
}

const text = (form: FormData, name: string) => String(form.get(name) ?? "").trim();
const orNull = (form: FormData, name: string) => text(form, name) || null;

function contactOf(form: FormData, prefix: string) {
  const email = text(form, `${prefix}Email`);
  const more = { name: orNull(form, `${prefix}Name`), phone: orNull(form, `${prefix}Phone`) };
  if (!email && (more.name || more.phone)) throw new Said(t.emailNeeded);
  return email ? { email, ...more } : null;
}

function overdraftOf(form: FormData): Overdraft {
  const type = text(form, "overdraftType");
  const period = text(form, "overdraftPeriod");
  return {
    type,
    ...(type === "absolute" || type === "percentage"
      ? { value: Number(text(form, "overdraftValue") || 0) }
      : {}),
    ...(type !== "none" && period ? { period, recovery: text(form, "overdraftRecovery") } : {}),
  };
}

/** Everything that the form says, as the API takes it. */
function saidIn(form: FormData): Record<string, unknown> {
  const price = text(form, "price");
  return {
    customer: { name: text(form, "customer"), externalId: orNull(form, "customerId") },
    product: text(form, "product"),
    sku: orNull(form, "sku"),
    seatCount: text(form, "seats") ? Number(text(form, "seats")) : null,
    overdraftSeatLimit: text(form, "seats") ? overdraftOf(form) : { type: "none" },
    leasePeriod: orNull(form, "leasePeriod"),
    unitPrice: price
      ? { amount: price, currency: text(form, "currency").toUpperCase(), per: text(form, "per") }
      : null,
    validFrom: orNull(form, "validFrom"),
    validUntil: orNull(form, "validUntil"),
    timeZone: text(form, "timeZone") || "UTC",
    contacts: { customerAdmin: contactOf(form, "admin"), accountOwner: contactOf(form, "owner") },
  };
}

const same = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
const dateOnly = (at: string | null | undefined) => (at ? at.slice(0, 10) : null);

/** What differs from what is stored: the merge patch. */
function patchOf(of: Entitlement, form: FormData): Record<string, unknown> {
  const said = saidIn(form);
  const stored: Record<string, unknown> = {
    ...of,
    customer: { name: of.customer.name, externalId: of.customer.externalId ?? null },
    validFrom: dateOnly(of.validFrom),
    validUntil: dateOnly(of.validUntil),
    contacts: Object.fromEntries(
      (["customerAdmin", "accountOwner"] as const).map((each) => {
        const contact = of.contacts?.[each];
        return [
          each,
          contact
            ? { email: contact.email, name: contact.name ?? null, phone: contact.phone ?? null }
            : null,
        ];
      }),
    ),
    overdraftSeatLimit: plainOverdraft(of.overdraftSeatLimit as Overdraft),
  };
  return Object.fromEntries(
    Object.entries(said).filter(([name, value]) => !same(value, stored[name])),
  );
}

/** An overdraft as the form says it: without what it has not. */
const plainOverdraft = ({ type, value, period, recovery }: Overdraft): Overdraft => ({
  type,
  ...(value === undefined || value === null ? {} : { value }),
  ...(period ? { period, recovery: recovery ?? "" } : {}),
});

/** What a change means for those who hold seats, in sentences. */
export function meaningOf(of: Entitlement, patch: Record<string, unknown>): string[] {
  const { seats } = of;
  if (!seats || !("seatCount" in patch || "overdraftSeatLimit" in patch)) return [];
  const purchased = (patch.seatCount as number | null | undefined) ?? of.seatCount;
  if (purchased == null) return [t.meansNoSeats];
  const limit = (patch.overdraftSeatLimit ?? of.overdraftSeatLimit) as Overdraft;
  const cap = hardCapOf(purchased, limit);
  return [
    t.meansCap(purchased, cap),
    cap !== null && seats.used > cap ? t.meansKeep(seats.used - cap) : "",
    seats.used > purchased
      ? t.meansOver(Math.min(seats.used, cap ?? seats.used) - purchased)
      : seats.used > seats.purchased
        ? t.meansWithin
        : "",
  ].filter(Boolean);
}

function TermFields({ of }: { of?: Entitlement }) {
  const limit = (of?.overdraftSeatLimit ?? { type: "percentage", value: 20 }) as Overdraft;
  const [type, setType] = useState(limit.type);
  const contacts = of?.contacts;
  return (
    <>
      <div class="columns">
        <Input
          label={t.customer}
          name="customer"
          required
          maxLength={200}
          defaultValue={of?.customer.name ?? ""}
        />
        <Input
          label={t.customerId}
          name="customerId"
          maxLength={200}
          defaultValue={of?.customer.externalId ?? ""}
        />
        <Input
          label={t.product}
          name="product"
          required
          maxLength={200}
          defaultValue={of?.product ?? ""}
        />
        <Input label={t.sku} name="sku" maxLength={200} defaultValue={of?.sku ?? ""} />
        <Input
          label={t.seatsPurchased}
          name="seats"
          type="number"
          min={0}
          defaultValue={of ? (of.seatCount ?? "") : 100}
          hint={t.emptyNoSeats}
        />
        <OverdraftFields
          type={type}
          value={limit.value}
          onType={setType}
          absolute={t.absolute}
          names={["overdraftType", "overdraftValue"]}
        />
        {type !== "none" && (
          <span class="pair">
            <Input
              label={t.overdraftPeriod}
              name="overdraftPeriod"
              placeholder="P30D"
              defaultValue={limit.period ?? ""}
              hint={t.overdraftPeriodHint}
            />
            <Input
              label={t.overdraftRecovery}
              name="overdraftRecovery"
              placeholder="P10D"
              defaultValue={limit.recovery ?? ""}
              hint={t.overdraftRecoveryHint}
            />
          </span>
        )}
        <Input
          label={t.leasePeriod}
          name="leasePeriod"
          placeholder="PT8H"
          defaultValue={of?.leasePeriod ?? ""}
          hint={t.leaseHint}
        />
        <span class="pair">
          <Input
            label={t.unitPrice}
            name="price"
            inputMode="decimal"
            defaultValue={of?.unitPrice?.amount ?? ""}
          />
          <Input
            label={t.currency}
            name="currency"
            maxLength={3}
            defaultValue={of?.unitPrice?.currency ?? "USD"}
          />
          <Select
            label={t.perWhat}
            name="per"
            options={[
              ["month", t.per.month],
              ["year", t.per.year],
            ]}
            defaultValue={of?.unitPrice?.per ?? "month"}
          />
        </span>
        <Input
          label={t.validFrom}
          name="validFrom"
          type="date"
          defaultValue={dateOnly(of?.validFrom) ?? ""}
        />
        <Input
          label={t.validTo}
          name="validUntil"
          type="date"
          defaultValue={dateOnly(of?.validUntil) ?? ""}
          hint={t.beginningUtc}
        />
        <Input label={t.timeZone} name="timeZone" defaultValue={of?.timeZone ?? "UTC"} />
      </div>
      {(["admin", "owner"] as const).map((prefix) => {
        const contact = prefix === "admin" ? contacts?.customerAdmin : contacts?.accountOwner;
        return (
          <fieldset key={prefix}>
            <legend>{prefix === "admin" ? t.customerAdmin : t.accountOwner}</legend>
            <div class="columns">
              <Input label={t.name} name={`${prefix}Name`} defaultValue={contact?.name ?? ""} />
              <Input
                label={t.email}
                name={`${prefix}Email`}
                type="email"
                defaultValue={contact?.email ?? ""}
              />
              <Input
                label={t.phone}
                name={`${prefix}Phone`}
                type="tel"
                defaultValue={contact?.phone ?? ""}
              />
            </div>
          </fieldset>
        );
      })}
    </>
  );
}

function EditTerms({
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
  const [patch, setPatch] = useState<Record<string, unknown> | null>(null);
  const [effective, setEffective] = useState("");
  const version = useData(`${path}#version`, () => call<Entitlement>("GET", path));
  const submit = async (form: FormData) => {
    const found = patchOf(of, form);
    if (!Object.keys(found).length) throw new Said(t.nothingChanged);
    if (effective) {
      const effectiveAt = new Date(effective).toISOString();
      await post(`${path}/scheduled-changes`, { effectiveAt, changes: found });
      await onDone();
      say(t.changeScheduled);
      return;
    }
    let etag: string | null;
    try {
      etag = (await call("PATCH", path, { body: found, etag: version.data?.etag ?? null })).etag;
    } catch (error) {
      // What was typed is kept, and can be saved once it has been looked at.
      if (error instanceof Failure && error.kind === "precondition-failed")
        await Promise.all([version.reload(), onDone()]);
      throw error;
    }
    const before = Object.fromEntries(
      Object.keys(found).map((name) => [
        name,
        (of as unknown as Record<string, unknown>)[name] ?? null,
      ]),
    ) as EntitlementPatch;
    await onDone();
    say(t.changedOf(of.customer.name), "status", async () => {
      // As it was left: what somebody has changed since is not written over.
      await call("PATCH", path, { body: before, etag });
      await onDone();
    });
  };
  const preview = (event: Event) => {
    const form = (event.currentTarget as HTMLElement).closest("form") as HTMLFormElement;
    try {
      setPatch(patchOf(of, new FormData(form)));
    } catch {
      setPatch(null); // it is not whole yet
    }
  };
  const meaning = patch ? meaningOf(of, patch) : [];
  return (
    <Dialog
      title={t.changeTerms}
      onClose={onClose}
      onSubmit={submit}
      submit={effective ? t.schedule : t.save}
    >
      <div onInput={preview}>
        <TermFields of={of} />
      </div>
      <Field label={t.takesEffect} hint={t.takesEffectHint}>
        {(id) => (
          <input
            id={id}
            type="datetime-local"
            value={effective}
            min={fieldTime(now())}
            onInput={(event) => setEffective(event.currentTarget.value)}
          />
        )}
      </Field>
      {meaning.length > 0 && (
        <ul class="meaning" aria-live="polite">
          {meaning.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}

export function NewEntitlement({ onClose }: { onClose: () => void }) {
  const submit = async (form: FormData) => {
    const said = Object.fromEntries(
      Object.entries(saidIn(form)).filter(([, value]) => value !== null),
    );
    const externalId = orNull(form, "externalId");
    const made = await post<Entitlement>("v1/entitlements", {
      ...said,
      ...(externalId ? { externalId } : {}),
    });
    say(t.created);
    go(to(["entitlements", made.entitlementId]));
  };
  return (
    <Dialog title={t.newEntitlement} onClose={onClose} onSubmit={submit} submit={t.create}>
      <Input label={t.externalId} name="externalId" maxLength={100} hint={t.externalIdHint} />
      <TermFields />
    </Dialog>
  );
}
