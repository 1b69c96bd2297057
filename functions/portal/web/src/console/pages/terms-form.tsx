// The form of an entitlement's terms: its fields, and what they say as the API takes it.

import { useState } from "preact/hooks";
import { Said } from "../api";
import { t } from "../messages";
import type { Entitlement } from "../types";
import { Field, Folded, Input, OverdraftFields, Select } from "../ui";

export interface Overdraft {
  type: string;
  value?: number | null;
  period?: string | null;
  recovery?: string | null;
}

const AUDIENCES = ["accountOwner", "customerAdmin"] as const;
/** What can be mailed. */
const MAILED: NonNullable<NonNullable<Entitlement["notifications"]>["accountOwner"]> = [
  "entitlement.overdraft.entered",
  "entitlement.overdraft.exited",
  "entitlement.overdraft.exhausted",
  "entitlement.overdraft.ending",
  "entitlement.overdraft.ended",
  "entitlement.overdraft.recovered",
  "entitlement.seat.denied",
  "entitlement.threshold.reached",
  "entitlement.usage.overdraft.entered",
  "entitlement.usage.overdraft.exhausted",
  "entitlement.usage.overdraft.ending",
  "entitlement.usage.overdraft.ended",
  "entitlement.usage.overdraft.recovered",
  "entitlement.usage.denied",
  "entitlement.usage.threshold.reached",
  "entitlement.seats.requested",
  "entitlement.expiring",
  "entitlement.followup.due",
];

const text = (form: FormData, name: string) => String(form.get(name) ?? "").trim();
export const orNull = (form: FormData, name: string) => text(form, name) || null;

function contactOf(form: FormData, prefix: string) {
  const email = text(form, `${prefix}Email`);
  const more = { name: orNull(form, `${prefix}Name`), phone: orNull(form, `${prefix}Phone`) };
  if (!email && (more.name || more.phone)) throw new Said(t.emailNeeded);
  return email ? { email, ...more } : null;
}

/** What `OverdraftFields` and `PeriodFields` with this prefix say. */
export function overdraftOf(form: FormData, prefix: string): Overdraft {
  const type = text(form, `${prefix}Type`);
  const period = text(form, `${prefix}Period`);
  const recovery = text(form, `${prefix}Recovery`);
  return {
    type,
    ...(type === "absolute" || type === "percentage"
      ? { value: Number(text(form, `${prefix}Value`) || 0) }
      : {}),
    // Of an empty recovery the API knows what is usual.
    ...(type !== "none" && period ? { period, ...(recovery ? { recovery } : {}) } : {}),
  };
}

const numberOrNull = (form: FormData, name: string) =>
  text(form, name) ? Number(text(form, name)) : null;

/** Numbers with anything between them. */
function numbers(form: FormData, name: string): number[] {
  const words = text(form, name)
    .split(/[\s,;%]+/)
    .filter(Boolean);
  if (words.some((each) => !/^\d+$/.test(each))) throw new Said(t.numbersNeeded);
  return words.map(Number);
}

/** A price of overdraft, of seats or of a usage limit; null: it costs nothing. */
export function priceOf(form: FormData, prefix: string, free: string) {
  const amount = text(form, `${prefix}Amount`);
  if (!amount) {
    if (orNull(form, `${prefix}Minimum`) || numberOrNull(form, `${prefix}Free`))
      throw new Said(t.amountNeeded);
    return null;
  }
  return {
    amount,
    currency: text(form, `${prefix}Currency`).toUpperCase(),
    basis: text(form, `${prefix}Basis`),
    charge: text(form, `${prefix}Charge`),
    minimum: orNull(form, `${prefix}Minimum`),
    [free]: numberOrNull(form, `${prefix}Free`) ?? 0,
  };
}

/** Of a new entitlement the API knows what is usual. */
function noticesOf(form: FormData) {
  if (!form.has("thresholds")) return {};
  return {
    thresholds: numbers(form, "thresholds"),
    seatsLeftThresholds: numbers(form, "seatsLeftThresholds"),
    expiryNoticeDays: numbers(form, "expiryNoticeDays"),
    notifications: Object.fromEntries(
      AUDIENCES.map((each) => [each, form.getAll(each).map(String).sort()]),
    ),
  };
}

function helpOf(form: FormData) {
  const showContact = form.get("showContact") === "on";
  const requestUrl = orNull(form, "requestUrl");
  return showContact || requestUrl ? { showContact, requestUrl } : null;
}

/** Whether notes can be written one a line, `name: value`, and read again as they were. */
const isWritable = (notes: Record<string, string>) =>
  Object.entries(notes).every(
    ([name, value]) =>
      !/[:\n]/.test(name) && !/\n/.test(value) && name === name.trim() && value === value.trim(),
  );

const linesOf = (notes: Record<string, string>) =>
  Object.entries(notes)
    .map(([name, value]) => `${name}: ${value}`)
    .join("\n");

/** The notes of such lines. */
function metadataOf(lines: string): Record<string, string> {
  const found = new Map<string, string>();
  for (const line of lines.split("\n").filter((each) => each.trim())) {
    const [, name, value] = /^\s*([^:]+?)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (!name || found.has(name)) throw new Said(name ? t.noteTwice(name) : t.metadataNeeded);
    found.set(name, value ?? "");
  }
  return Object.fromEntries(found);
}

/** Everything that the form says, as the API takes it. */
export function saidIn(form: FormData): Record<string, unknown> {
  const price = text(form, "price");
  return {
    customer: { name: text(form, "customer"), externalId: orNull(form, "customerId") },
    product: text(form, "product"),
    sku: orNull(form, "sku"),
    seatCount: text(form, "seats") ? Number(text(form, "seats")) : null,
    overdraftSeatLimit: overdraftOf(form, "overdraft"),
    leasePeriod: orNull(form, "leasePeriod"),
    unitPrice: price
      ? { amount: price, currency: text(form, "currency").toUpperCase(), per: text(form, "per") }
      : null,
    validFrom: orNull(form, "validFrom"),
    validUntil: orNull(form, "validUntil"),
    timeZone: text(form, "timeZone") || "UTC",
    customerCap: numberOrNull(form, "customerCap"),
    overdraftLeasePeriod: orNull(form, "overdraftLeasePeriod"),
    maxLeasePeriod: orNull(form, "maxLeasePeriod"),
    maxBorrowedSeats: numberOrNull(form, "maxBorrowedSeats") ?? 0,
    offlinePeriod: orNull(form, "offlinePeriod"),
    ...noticesOf(form),
    overdraftPrice: priceOf(form, "overdraftPrice", "freeSeats"),
    showCharges: form.get("showCharges") === "on",
    denialHelp: helpOf(form),
    ...(form.has("metadata") ? { metadata: metadataOf(text(form, "metadata")) } : {}),
    contacts: { customerAdmin: contactOf(form, "admin"), accountOwner: contactOf(form, "owner") },
  };
}

/** The same, whatever the order of members is. */
const same = (a: unknown, b: unknown) => plain(a) === plain(b);
const plain = (value: unknown): string =>
  JSON.stringify(value ?? null, (_, each) =>
    each && typeof each === "object" && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
const dateOnly = (at: string | null | undefined) => (at ? at.slice(0, 10) : null);

/** What differs from what is stored: the merge patch. */
export function patchOf(of: Entitlement, form: FormData): Record<string, unknown> {
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
    denialHelp: of.denialHelp?.showContact || of.denialHelp?.requestUrl ? of.denialHelp : null,
  };
  return changesOf(pick(stored, Object.keys(said)), said);
}

// Members that change one by one: what somebody else has changed beside them stays. Others, such as
// a price, are one value.
const NESTED = new Set([
  "customer",
  "contacts",
  "customerAdmin",
  "accountOwner",
  "notifications",
  "metadata",
]);
type Members = Record<string, unknown>;
const isNested = (name: string, ...values: unknown[]) =>
  NESTED.has(name) &&
  values.every((each) => each && typeof each === "object" && !Array.isArray(each));
const own = (of: Members, name: string) => (Object.hasOwn(of, name) ? (of[name] ?? null) : null);
const pick = (of: Members, names: string[]): Members =>
  Object.fromEntries(names.map((name) => [name, own(of, name)]));

/** The merge patch that makes `after` of `before`, and says nothing of what does not differ. */
function changesOf(before: Members, after: Members): Members {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return Object.fromEntries(
    [...names].flatMap((name) => {
      const [was, is] = [own(before, name), own(after, name)];
      if (same(was, is)) return [];
      const isParts = isNested(name, was, is);
      return [[name, isParts ? changesOf(was as Members, is as Members) : is]];
    }),
  );
}

/** The merge patch that takes such a patch back: what `before` has of its members. */
export function takingBack(patch: Members, before: Members): Members {
  return Object.fromEntries(
    Object.entries(patch).map(([name, value]) => {
      const was = own(before, name);
      const isParts = isNested(name, was, value);
      return [name, isParts ? takingBack(value as Members, was as Members) : was];
    }),
  );
}

// What the page of terms does not show: a change of it is named as the API names it.
const UNSHOWN = [
  "contacts",
  "notifications",
  "denialHelp",
  "overdraftPrice",
  "showCharges",
  "overdraftLeasePeriod",
  "maxLeasePeriod",
  "maxBorrowedSeats",
  "offlinePeriod",
  "seatsLeftThresholds",
  "expiryNoticeDays",
];

/** What has changed of the terms that the page does not show: `contacts.customerAdmin.email: …`. */
export function unshownChanges(before: Entitlement, after: Entitlement): string[] {
  const listed = (of: Members, path: string): string[] =>
    Object.entries(of).flatMap(([name, value]) => {
      const place = path ? `${path}.${name}` : name;
      const isMembers = value && typeof value === "object" && !Array.isArray(value);
      if (isMembers) return listed(value as Members, place);
      return [`${place}: ${typeof value === "string" ? value : JSON.stringify(value)}`];
    });
  const [was, is] = [before, after].map((each) => pick(each as unknown as Members, UNSHOWN));
  return listed(changesOf(was ?? {}, is ?? {}), "");
}

/** An overdraft as the form says it: without what it has not. */
const plainOverdraft = ({ type, value, period, recovery }: Overdraft): Overdraft => ({
  type,
  ...(value === undefined || value === null ? {} : { value }),
  ...(period ? { period, recovery: recovery ?? "" } : {}),
});

export function TermFields({ of }: { of?: Entitlement }) {
  const limit = (of?.overdraftSeatLimit ?? { type: "percentage", value: 20 }) as Overdraft;
  const [type, setType] = useState(limit.type);
  const contacts = of?.contacts;
  return (
    <>
      <div class="columns">
        <Input
          label={t.customer}
          name="customer"
          pointer="/customer/name"
          required
          maxLength={200}
          defaultValue={of?.customer.name ?? ""}
        />
        <Input
          label={t.customerId}
          name="customerId"
          pointer="/customer/externalId"
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
          pointer="/seatCount"
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
          prefix="overdraft"
          pointer="/overdraftSeatLimit"
        />
        {type !== "none" && (
          <PeriodFields of={limit} prefix="overdraft" pointer="/overdraftSeatLimit" />
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
            pointer="/unitPrice/amount"
            inputMode="decimal"
            defaultValue={of?.unitPrice?.amount ?? ""}
          />
          <Input
            label={t.currency}
            name="currency"
            pointer="/unitPrice/currency"
            maxLength={3}
            defaultValue={of?.unitPrice?.currency ?? "USD"}
          />
          <Select
            label={t.perWhat}
            name="per"
            pointer="/unitPrice/per"
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
        const audience = prefix === "admin" ? "customerAdmin" : "accountOwner";
        const contact = contacts?.[audience];
        return (
          <fieldset key={prefix}>
            <legend>{t[audience]}</legend>
            <div class="columns">
              <Input
                label={t.name}
                name={`${prefix}Name`}
                pointer={`/contacts/${audience}/name`}
                defaultValue={contact?.name ?? ""}
              />
              <Input
                label={t.email}
                name={`${prefix}Email`}
                pointer={`/contacts/${audience}/email`}
                type="email"
                defaultValue={contact?.email ?? ""}
              />
              <Input
                label={t.phone}
                name={`${prefix}Phone`}
                pointer={`/contacts/${audience}/phone`}
                type="tel"
                defaultValue={contact?.phone ?? ""}
              />
            </div>
          </fieldset>
        );
      })}
      <MoreFields {...(of ? { of } : {})} />
    </>
  );
}

/** What few entitlements need: folded away, and sent as it was. */
function MoreFields({ of }: { of?: Entitlement }) {
  return (
    <>
      <Folded title={t.borrowing}>
        <div class="columns">
          <Input
            label={t.overdraftLease}
            name="overdraftLeasePeriod"
            placeholder="PT1H"
            defaultValue={of?.overdraftLeasePeriod ?? ""}
            hint={t.overdraftLeaseHint}
          />
          <Input
            label={t.maxLease}
            name="maxLeasePeriod"
            placeholder="P14D"
            defaultValue={of?.maxLeasePeriod ?? ""}
            hint={t.maxLeaseHint}
          />
          <Input
            label={t.maxBorrowed}
            name="maxBorrowedSeats"
            type="number"
            min={0}
            defaultValue={of?.maxBorrowedSeats ?? 0}
          />
          <Input
            label={t.offlinePeriod}
            name="offlinePeriod"
            placeholder="P3D"
            defaultValue={of?.offlinePeriod ?? ""}
            hint={t.offlineHint}
          />
          <Input
            label={t.customerCap}
            name="customerCap"
            type="number"
            min={0}
            defaultValue={of?.customerCap ?? ""}
            hint={t.customerCapHint}
          />
        </div>
      </Folded>
      <Folded title={t.pricing}>
        <PriceFields
          of={of?.overdraftPrice}
          prefix="overdraftPrice"
          pointer="/overdraftPrice"
          bases={["peak_seats", "seat_days"]}
          free={of?.overdraftPrice?.freeSeats}
        />
        <label class="check">
          <input type="checkbox" name="showCharges" defaultChecked={of?.showCharges ?? false} />{" "}
          {t.showCharges}
        </label>
      </Folded>
      {of && (
        <Folded title={t.notices}>
          <div class="columns">
            <Input
              label={t.thresholds}
              name="thresholds"
              defaultValue={(of.thresholds ?? []).join(", ")}
              hint={t.thresholdsHint}
            />
            <Input
              label={t.seatsLeft}
              name="seatsLeftThresholds"
              defaultValue={(of.seatsLeftThresholds ?? []).join(", ")}
              hint={t.seatsLeftHint}
            />
            <Input
              label={t.expiryNotice}
              name="expiryNoticeDays"
              defaultValue={(of.expiryNoticeDays ?? []).join(", ")}
              hint={t.expiryNoticeHint}
            />
          </div>
          <div class="columns">
            {AUDIENCES.map((audience) => (
              <fieldset key={audience}>
                <legend>{t.mailsTo[audience]}</legend>
                {MAILED.map((each) => (
                  <label class="check" key={each}>
                    <input
                      type="checkbox"
                      name={audience}
                      value={each}
                      defaultChecked={of.notifications?.[audience]?.includes(each) ?? false}
                    />{" "}
                    {t.eventNames[each] ?? each}
                  </label>
                ))}
              </fieldset>
            ))}
          </div>
        </Folded>
      )}
      <Folded title={t.denialHelp}>
        <label class="check">
          <input
            type="checkbox"
            name="showContact"
            defaultChecked={of?.denialHelp?.showContact ?? false}
          />{" "}
          {t.showContact}
        </label>
        <Input
          label={t.requestUrl}
          name="requestUrl"
          pointer="/denialHelp/requestUrl"
          type="url"
          defaultValue={of?.denialHelp?.requestUrl ?? ""}
          hint={t.requestUrlHint}
        />
      </Folded>
      <Folded title={t.metadata}>
        {isWritable(of?.metadata ?? {}) ? (
          <Field label={t.metadata} hint={t.metadataHint}>
            {(id) => (
              <textarea
                id={id}
                name="metadata"
                rows={4}
                defaultValue={linesOf(of?.metadata ?? {})}
              />
            )}
          </Field>
        ) : (
          <p class="soft">{t.notesByApi}</p>
        )}
      </Folded>
    </>
  );
}

/** How long an overdraft may last. */
export const PeriodFields = ({
  of,
  prefix,
  pointer,
}: {
  of: Overdraft;
  prefix: string;
  pointer: string;
}) => (
  <span class="pair">
    <Input
      label={t.overdraftPeriod}
      name={`${prefix}Period`}
      pointer={`${pointer}/period`}
      placeholder="P30D"
      defaultValue={of.period ?? ""}
      hint={t.overdraftPeriodHint}
    />
    <Input
      label={t.overdraftRecovery}
      name={`${prefix}Recovery`}
      pointer={`${pointer}/recovery`}
      placeholder="P10D"
      defaultValue={of.recovery ?? ""}
      hint={t.overdraftRecoveryHint}
    />
  </span>
);

/** What overdraft costs. */
export const PriceFields = ({
  of,
  prefix,
  pointer,
  bases,
  free,
}: {
  of:
    | {
        amount: string;
        currency: string;
        basis?: string;
        charge?: string;
        minimum?: string | null;
      }
    | null
    | undefined;
  prefix: string;
  pointer: string;
  bases: string[];
  free: number | undefined;
}) => (
  <div class="columns">
    <Input
      label={t.overdraftPrice}
      name={`${prefix}Amount`}
      pointer={`${pointer}/amount`}
      inputMode="decimal"
      defaultValue={of?.amount ?? ""}
      hint={t.priceHint}
    />
    <Input
      label={t.currency}
      name={`${prefix}Currency`}
      pointer={`${pointer}/currency`}
      maxLength={3}
      defaultValue={of?.currency ?? "USD"}
    />
    <Select
      label={t.basis}
      name={`${prefix}Basis`}
      pointer={`${pointer}/basis`}
      defaultValue={of?.basis ?? bases[0] ?? ""}
      options={bases.map((each) => [each, t.bases[each] ?? each])}
    />
    <Select
      label={t.charge}
      name={`${prefix}Charge`}
      pointer={`${pointer}/charge`}
      defaultValue={of?.charge ?? "by_month"}
      options={[
        ["by_month", t.charges.by_month],
        ["to_end_of_term", t.charges.to_end_of_term],
      ]}
    />
    <Input
      label={t.minimum}
      name={`${prefix}Minimum`}
      pointer={`${pointer}/minimum`}
      inputMode="decimal"
      defaultValue={of?.minimum ?? ""}
    />
    <Input
      label={t.freeUnits}
      name={`${prefix}Free`}
      type="number"
      min={0}
      defaultValue={free ?? 0}
    />
  </div>
);
