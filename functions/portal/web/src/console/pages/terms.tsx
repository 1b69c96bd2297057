// What was agreed: shown, changed now or at a time, with what the change means; and its history.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { count, moment } from "../../format";
import { type Answer, call, Failure, post, read, Said } from "../api";
import { useData } from "../data";
import { useSettled } from "../hooks";
import { t } from "../messages";
import { go, to } from "../router";
import { may } from "../session";
import type { ChangedEntitlement, Entitlement, Page, ScheduledChange, Shown } from "../types";
import {
  Action,
  Badge,
  Card,
  Dialog,
  Empty,
  Field,
  Folded,
  Input,
  Loaded,
  Quoted,
  say,
  Table,
  textOf,
  When,
} from "../ui";
import { fieldTime } from "../zoned";
import { History } from "./audit";
import {
  type Overdraft,
  orNull,
  patchOf,
  saidIn,
  TermFields,
  takingBack,
  unshownChanges,
} from "./terms-form";
import { LimitFields, limitsIn } from "./usage";

const SETTLE_MS = 300;

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
      [
        of.validFrom && t.from(moment(of.validFrom)),
        of.validUntil && t.until(moment(of.validUntil)),
      ]
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

/** What a change means for those who use it now, in sentences. */
function meaningOf(of: Entitlement, foreseen: ChangedEntitlement): string[] {
  const { seats, effects } = foreseen;
  const found: string[] = [];
  if (of.seats && !seats) found.push(t.meansNoSeats);
  if (seats && effects && (effects.changes.seatCount || effects.changes.overdraftSeatLimit)) {
    const keep = effects.seatsAboveHardCap;
    found.push(t.meansCap(seats.purchased, foreseen.hardCap));
    if (keep) found.push(t.meansKeep(keep));
    if (seats.used > seats.purchased) found.push(t.meansOver(seats.used - seats.purchased - keep));
    else if (of.seats && of.seats.used > of.seats.purchased) found.push(t.meansWithin);
  }
  if (foreseen.status !== of.status) found.push(t.meansStatus(t.status[foreseen.status]));
  return found;
}

/** What somebody else has changed since a dialog was opened: each term as it is now. */
function changedMeanwhile(base: Entitlement, of: Entitlement): string[] {
  const before = new Map(termsOf(base));
  const shown = termsOf(of)
    .filter(([name, value]) => before.get(name) !== value)
    .map(([name, value]) => `${name}: ${value}`);
  return [...shown, ...unshownChanges(base, of)];
}

/** The form of what is stored now: read anew, with its version. */
function EditTerms(props: { path: string; onClose: () => void; onDone: () => Promise<void> }) {
  const [opening] = useState(() => crypto.randomUUID());
  const version = useData(`${props.path}#${opening}`, () => call<Entitlement>("GET", props.path));
  if (version.data) return <TermsForm {...props} version={version.data} reload={version.reload} />;
  // One dialog: it gives the focus back to where it was.
  return version.error ? (
    <Dialog title={t.changeTerms} onClose={props.onClose}>
      <Loaded of={version}>{() => null}</Loaded>
    </Dialog>
  ) : null;
}

function TermsForm({
  version,
  reload,
  path,
  onClose,
  onDone,
}: {
  version: Answer<Entitlement>;
  reload: () => Promise<void>;
  path: string;
  onClose: () => void;
  onDone: () => Promise<void>;
}) {
  const of = version.data;
  // As it was when the dialog was opened: what differs from it is what this person changed.
  const [base] = useState(of);
  const [problem, setProblem] = useState("");
  const [patch, setPatch] = useState<Record<string, unknown>>({});
  const asked = useSettled(JSON.stringify(patch), SETTLE_MS);
  const foreseen = useData(asked === "{}" ? null : `${path}?dryRun ${asked}`, async () => {
    const body = JSON.parse(asked);
    return (await call<ChangedEntitlement>("PATCH", path, { body, query: { dryRun: true } })).data;
  });
  const [effective, setEffective] = useState("");
  const submit = async (form: FormData) => {
    const found = patchOf(base, form);
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
      etag = (await call("PATCH", path, { body: found, etag: version.etag })).etag;
    } catch (error) {
      // What was typed is kept, and can be saved once it has been looked at.
      if (error instanceof Failure && error.kind === "precondition-failed")
        await Promise.all([reload(), onDone()]);
      throw error;
    }
    const before = takingBack(found, of as unknown as Record<string, unknown>);
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
      setPatch(patchOf(base, new FormData(form)));
      setProblem("");
    } catch (error) {
      setPatch({}); // it is not whole yet
      setProblem(textOf(error));
    }
  };
  const theirs = changedMeanwhile(base, of);
  const meaning = foreseen.data ? meaningOf(of, foreseen.data) : [];
  return (
    <Dialog
      title={t.changeTerms}
      onClose={onClose}
      onSubmit={submit}
      submit={effective ? t.schedule : t.save}
    >
      <div onInput={preview}>
        <TermFields of={base} />
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
      {theirs.length > 0 && (
        <p role="status">
          <Badge kind="near">{t.changedMeanwhile}</Badge> <Quoted text={theirs.join("; ")} />
        </p>
      )}
      {problem && (
        <p class="soft" role="status">
          {problem}
        </p>
      )}
      {foreseen.error && (
        <p class="soft" role="status">
          {t.wouldBeRefused(textOf(foreseen.error))}
        </p>
      )}
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
    const usageLimits = limitsIn(form, [null]);
    const made = await post<Entitlement>("v1/entitlements", {
      ...said,
      ...(externalId ? { externalId } : {}),
      ...(usageLimits.length ? { usageLimits } : {}),
    });
    say(t.created);
    go(to(["entitlements", made.entitlementId]));
  };
  return (
    <Dialog title={t.newEntitlement} onClose={onClose} onSubmit={submit} submit={t.create}>
      <Input label={t.externalId} name="externalId" maxLength={100} hint={t.externalIdHint} />
      <TermFields />
      <Folded title={t.aUsageLimit}>
        <LimitFields of={null} n={0} />
      </Folded>
    </Dialog>
  );
}
