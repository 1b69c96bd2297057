// What pages are made of.

import { type ComponentChildren, createContext, type JSX, type TargetedEvent } from "preact";
import { useContext, useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { now } from "../clock";
import { isolated } from "../dom";
import { count, moment, money } from "../format";
import { Failure, Said, type Wrong } from "./api";
import type { Data } from "./data";
import { useTick } from "./hooks";
import { t } from "./messages";
import type { Contact, Delivery, Entitlement } from "./types";

type Children = { children?: ComponentChildren };

/** Somebody's own words: their direction of writing must not reach what is around them. */
export const Quoted = ({ text }: { text: string }) => (
  <bdi class="quoted">{text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "")}</bdi>
);

export const Card = ({
  title,
  tools,
  wide,
  children,
  id,
}: Children & { title?: string; tools?: ComponentChildren; wide?: boolean; id?: string }) => (
  <section class={`card${wide ? " wide" : ""}`} {...(id ? { id } : {})} aria-label={title ?? ""}>
    {title && (
      <header class="card-head">
        <h2>{title}</h2>
        {tools && <div class="tools">{tools}</div>}
      </header>
    )}
    {children}
  </section>
);

/** What to do where there is nothing yet. */
export const Empty = ({ title, children }: Children & { title: string }) => (
  <div class="empty">
    <p class="strong">{title}</p>
    {children && <p class="soft">{children}</p>}
  </div>
);

/** What went wrong, what to do about it. */
export const Trouble = ({ error, retry }: { error: Error; retry?: () => void }) => (
  <div class="trouble" role="alert">
    <p>{textOf(error)}</p>
    {retry && (
      <button type="button" class="quiet" onClick={retry}>
        {t.tryAgain}
      </button>
    )}
  </div>
);

/** What to say of a failure. */
export function textOf(error: unknown): string {
  if (error instanceof Said) return error.message;
  if (!(error instanceof Failure)) return t.failed;
  if (error.errors.length) return error.errors.map(wrongText).join(" ");
  return t.problems[error.kind] ?? error.message;
}

/** What is wrong with a member, as the API says it. */
const wrongText = ({ pointer, detail }: Wrong): string =>
  [pointer, t.wrong(detail)].filter(Boolean).join(": ");

// What the API found wrong with a form, for its fields to show.
const NOTHING_WRONG: Wrong[] = [];
const Refused = createContext(NOTHING_WRONG);

/** Whether something wrong is that of a field: with its member, or with an item of its list. */
const isOf = (wrong: Wrong, pointer: string | undefined): boolean =>
  pointer !== undefined && (wrong.pointer ?? "").replace(/\/\d+$/, "") === pointer;

/** The place of what is not there yet. */
export const Waiting = ({ rows }: { rows: number }) => (
  <div class="ghost" role="status" aria-busy="true" aria-label={t.loading}>
    {Array.from({ length: rows }, (_, n) => (
      <span key={n} />
    ))}
  </div>
);

/** Data once it is there; before that, its place; and what went wrong. */
export function Loaded<T>({
  of,
  rows = 3,
  children,
}: {
  of: Data<T>;
  rows?: number;
  children: (data: T) => ComponentChildren;
}) {
  if (of.data === undefined && of.error)
    return <Trouble error={of.error} retry={() => void of.reload()} />;
  if (of.data === undefined) return <Waiting rows={rows} />;
  return (
    <>
      {of.error && <Stale at={of.at} />}
      {children(of.data)}
    </>
  );
}

/** Says honestly that figures are old. */
const Stale = ({ at }: { at: number | null }) => (
  <p class="stale" role="status">
    {t.stale(at === null ? "" : moment(at))}
  </p>
);

/** Of when the figures are, in words that go on with the time. */
export function AsOf({ at }: { at: number | null }) {
  useTick(5_000);
  if (at === null) return null;
  return <small class="as-of">{t.asOf(Math.max(0, Math.round((now() - at) / 1000)))}</small>;
}

export const Badge = ({ kind, children }: Children & { kind: string }) => (
  <span class={`badge ${kind}`}>{children}</span>
);

/** Whether a webhook endpoint has got an event. */
export const DeliveryState = ({ of }: { of: Delivery }) => {
  const kind = { failed: "full", succeeded: "within", pending: "near" }[of.status];
  return (
    <>
      <Badge kind={kind}>{t.deliveryStates[of.status]}</Badge>
      {of.nextAttemptAt && (
        <small>
          {t.next} <When at={of.nextAttemptAt} />
        </small>
      )}
    </>
  );
};

/** Data as it is sent. */
export const Json = ({ of }: { of: unknown }) => (
  <pre class="json" dir="ltr" ref={reachable}>
    {JSON.stringify(of, null, 2)}
  </pre>
);

/** Use against both limits, as a bar. */
export function Meter({
  used,
  purchased,
  hardCap,
}: {
  used: number;
  purchased: number;
  hardCap: number | null;
}) {
  // Without a cap there is always room.
  const full = Math.max(hardCap ?? 1.25 * Math.max(purchased, used), purchased, used, 1);
  const share = (value: number) => `${(100 * value) / full}%`;
  const text = t.meter(used, purchased, hardCap);
  return (
    <svg class="meter" role="img" aria-label={text} preserveAspectRatio="none">
      <title>{text}</title>
      <rect class="room" width="100%" height="100%" />
      <rect class="allowed" width={share(purchased)} height="100%" />
      <rect class="within" width={share(Math.min(used, purchased))} height="100%" />
      {used > purchased && (
        <rect class="over" x={share(purchased)} width={share(used - purchased)} height="100%" />
      )}
      <rect class="mark" x={share(purchased)} width="2" height="100%" />
    </svg>
  );
}

/** How it stands, in one word and its colour. */
export function StateBadge({ of }: { of: Entitlement }) {
  if (of.status !== "active") return <Badge kind="stopped">{t.status[of.status]}</Badge>;
  const { seats } = of;
  if (!seats) return <Badge kind="">{t.status.active}</Badge>;
  if (seats.available === 0) return <Badge kind="full">{t.full}</Badge>;
  if (seats.used > seats.purchased)
    return <Badge kind="over">{t.overBy(seats.used - seats.purchased)}</Badge>;
  if (seats.used === seats.purchased) return <Badge kind="near">{t.atLimit}</Badge>;
  return <Badge kind="within">{t.within}</Badge>;
}

/** A person to call or to write to. */
export const Person = ({ contact, role }: { contact: Contact | null | undefined; role: string }) =>
  contact ? (
    <span class="person">
      <small>{role}</small>
      {contact.name && <Quoted text={contact.name} />}
      <a href={`mailto:${encodeURIComponent(contact.email).replaceAll("%40", "@")}`}>
        {contact.email}
      </a>
      {contact.phone && (
        <a href={`tel:${contact.phone.replace(/[^+0-9]/g, "")}`}>{contact.phone}</a>
      )}
    </span>
  ) : null;

/** What seats above what was purchased are worth a month at list price; null without a price. */
export function worthOf(of: Entitlement): { amount: number; currency: string } | null {
  const { seats, unitPrice } = of;
  if (!seats || !unitPrice) return null;
  const over = Math.max(0, seats.used - seats.purchased);
  // In ten-thousandths: prices have at most four decimals.
  const price = Math.round(Number(unitPrice.amount) * 10_000);
  const perMonth = unitPrice.per === "year" ? price / 12 : price;
  return { amount: (perMonth * over) / 10_000, currency: unitPrice.currency };
}

export const priced = (value: { amount: number; currency: string } | null): string =>
  value ? money(value.amount.toFixed(2), value.currency) : "–";

/** A button that shows that it is at work, and cannot be pressed twice. */
export function Action({
  act,
  onError,
  children,
  ...more
}: Children & {
  act: () => Promise<unknown>;
  onError?: (error: unknown) => void;
} & Omit<JSX.IntrinsicElements["button"], "onClick">) {
  const [isBusy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      if (onError) onError(error);
      else say(textOf(error), "alert");
    } finally {
      setBusy(false);
    }
  };
  return (
    <button
      type="button"
      {...more}
      disabled={isBusy || Boolean(more.disabled)}
      aria-busy={isBusy}
      onClick={run}
    >
      {children}
    </button>
  );
}

/** A form in a dialog. What was typed stays when sending fails. */
export function Dialog({
  title,
  onClose,
  onSubmit,
  submit,
  children,
  danger,
}: Children & {
  title: string;
  onClose: () => void;
  onSubmit?: (form: FormData) => Promise<unknown>;
  submit?: string;
  danger?: boolean;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const titleId = useId();
  useLayoutEffect(() => element.current?.showModal(), []);
  const wrong = error instanceof Failure ? error.errors : NOTHING_WRONG;
  const [others, setOthers] = useState(wrong);
  useLayoutEffect(() => {
    const fields = [...(element.current?.querySelectorAll<HTMLElement>("[data-pointer]") ?? [])];
    setOthers(wrong.filter((one) => !fields.some((each) => isOf(one, each.dataset.pointer))));
    const first = fields.find((each) => wrong.some((one) => isOf(one, each.dataset.pointer)));
    first?.closest("details")?.setAttribute("open", "");
    first?.querySelector<HTMLElement>("input, select, textarea")?.focus();
  }, [wrong]);
  const atFields = wrong.length > 0 && !others.length;
  const send = async (event: Event) => {
    event.preventDefault();
    if (!onSubmit || isBusy) return;
    setBusy(true);
    setError(null);
    try {
      await onSubmit(new FormData(event.currentTarget as HTMLFormElement));
      // The dialog itself gives the focus back to where it was.
      if (element.current?.open) element.current.close();
      else onClose();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  // A form within a form is none: a dialog that sends nothing may have others in it.
  const Box = onSubmit ? "form" : "div";
  return (
    <dialog ref={element} aria-labelledby={titleId} onClose={onClose}>
      <Box class="dialog-body" {...(onSubmit ? { onSubmit: send } : {})}>
        <h2 id={titleId}>{title}</h2>
        <Refused.Provider value={wrong}>{children}</Refused.Provider>
        {error !== null && <Trouble error={atFields ? new Said(t.seeFields) : (error as Error)} />}
        <div class="buttons">
          <button type="button" class="quiet" onClick={onClose}>
            {onSubmit ? t.cancel : t.close}
          </button>
          {onSubmit && (
            <button
              type="submit"
              class={danger ? "danger" : "primary"}
              disabled={isBusy}
              aria-busy={isBusy}
            >
              {submit ?? t.save}
            </button>
          )}
        </div>
      </Box>
    </dialog>
  );
}

/** The member of the body that a field is: the one of its name, unless it says another. */
const memberOf = (pointer: string | undefined, name: unknown) =>
  pointer ? { pointer } : name ? { pointer: `/${name}` } : {};

/** A field and its label. `pointer`: which member of the body it is; what is wrong with it is shown. */
export function Field({
  label,
  hint,
  pointer,
  children,
}: {
  label: string;
  hint?: string;
  pointer?: string;
  children: (
    id: string,
    more: { "aria-invalid"?: true; "aria-describedby"?: string },
  ) => ComponentChildren;
}) {
  const id = useId();
  const wrong = useContext(Refused).filter((each) => isOf(each, pointer));
  const more = wrong.length
    ? { "aria-invalid": true as const, "aria-describedby": `${id}-wrong` }
    : {};
  return (
    <p class="field" {...(pointer ? { "data-pointer": pointer } : {})}>
      <label for={id}>{label}</label>
      {children(id, more)}
      {wrong.length > 0 && (
        <small class="wrong" id={`${id}-wrong`}>
          {wrong.map((each) => t.wrong(each.detail)).join(" ")}
        </small>
      )}
      {hint && <small>{hint}</small>}
    </p>
  );
}

/** Fields that few people need. They unfold when one of them is not valid. */
export const Folded = ({ title, children }: Children & { title: string }) => (
  <details onInvalidCapture={(event) => event.currentTarget.setAttribute("open", "")}>
    <summary>{title}</summary>
    {children}
  </details>
);

/** A field for one line. */
export const Input = ({
  label,
  hint,
  pointer,
  ...more
}: { label: string; hint?: string; pointer?: string } & JSX.IntrinsicElements["input"]) => (
  <Field label={label} {...(hint ? { hint } : {})} {...memberOf(pointer, more.name)}>
    {(id, state) => <input id={id} autocomplete="off" {...more} {...state} />}
  </Field>
);

/** A choice. With `defaultValue` it is the person's own from then on. */
export const Select = ({
  label,
  options,
  value,
  defaultValue,
  pointer,
  ...more
}: {
  label: string;
  pointer?: string;
  options: [value: string, text: string][];
  value?: string;
  defaultValue?: string;
  name?: string;
  onChange?: (event: TargetedEvent<HTMLSelectElement>) => void;
}) => (
  <Field label={label} {...memberOf(pointer, more.name)}>
    {(id, state) => (
      <select id={id} {...more} {...state} {...(value === undefined ? {} : { value })}>
        {options.map(([each, text]) => (
          <option key={each} value={each} selected={each === (value ?? defaultValue)}>
            {text}
          </option>
        ))}
      </select>
    )}
  </Field>
);

/** The kind of an overdraft, and how much it is where it has a number. */
export const OverdraftFields = ({
  type,
  value,
  onType,
  absolute,
  prefix,
  pointer,
}: {
  type: string;
  value: number | null | undefined;
  onType: (type: string) => void;
  absolute: string;
  prefix: string;
  pointer: string;
}) => (
  <span class="pair">
    <Select
      label={t.overdraftLimit}
      name={`${prefix}Type`}
      pointer={pointer}
      value={type}
      onChange={(event) => onType(event.currentTarget.value)}
      options={[
        ["none", t.none],
        ["absolute", absolute],
        ["percentage", t.percentage],
        ["unlimited", t.unlimited],
      ]}
    />
    {(type === "absolute" || type === "percentage") && (
      <Input
        label={t.value}
        name={`${prefix}Value`}
        pointer={`${pointer}/value`}
        type="number"
        min={0}
        defaultValue={value ?? 0}
      />
    )}
  </span>
);

/** A button that asks before it does what cannot be undone. */
export function Confirm({
  label,
  title,
  means,
  act,
}: {
  label: string;
  title: string;
  means: string;
  act: () => Promise<unknown>;
}) {
  const [isAsking, setAsking] = useState(false);
  return (
    <>
      <button type="button" class="quiet" onClick={() => setAsking(true)}>
        {label}
      </button>
      {isAsking && (
        <Dialog title={title} submit={label} danger onClose={() => setAsking(false)} onSubmit={act}>
          <p class="soft">{means}</p>
        </Dialog>
      )}
    </>
  );
}

/** What has to be scrolled sideways can be reached by keyboard. */
function reachable(box: HTMLElement | null): void {
  if (!box) return;
  if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
  else box.removeAttribute("tabindex");
}

/** A table. The head of a column of numbers is in a list of its own. */
export const Table = ({ head, children }: Children & { head: (string | [string])[] }) => (
  <div class="scroll" ref={reachable}>
    <table>
      <thead>
        <tr>
          {head.map((each) => (
            <th key={String(each)} scope="col" class={typeof each === "string" ? "" : "number"}>
              {each}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  </div>
);

/** A moment, with the exact time at hand. */
export const When = ({ at }: { at: string | null | undefined }) =>
  at ? <time dateTime={at}>{moment(at)}</time> : <>–</>;

export const Count = ({ of }: { of: number | null }) => <>{of === null ? "∞" : count(of)}</>;

/** How an entitlement is called, for a title or a label. */
export const nameOf = (of: Entitlement): string =>
  `${isolated(of.customer.name)} · ${isolated(of.product)}`;

/** A text that can be taken along, with a button that does it. */
function Secret({ label, text }: { label: string; text: string }) {
  const [isDone, setDone] = useState(false);
  return (
    <Field label={label} hint={t.onlyNow}>
      {(id) => (
        <span class="secret">
          <input id={id} value={text} readOnly onFocus={(event) => event.currentTarget.select()} />
          <button
            type="button"
            class="quiet"
            onClick={() => navigator.clipboard.writeText(text).then(() => setDone(true))}
          >
            {isDone ? t.copied : t.copy}
          </button>
        </span>
      )}
    </Field>
  );
}

/** What only this answer has, in a dialog. */
export const SecretDialog = ({
  title,
  label,
  text,
  onClose,
}: {
  title: string;
  label: string;
  text: string;
  onClose: () => void;
}) => (
  <Dialog title={title} onClose={onClose}>
    <Secret label={label} text={text} />
  </Dialog>
);

// --- Short messages at the edge of the page ------------------------------------------------------

export interface Message {
  text: string;
  role: "status" | "alert";
  undo?: () => Promise<unknown>;
}
let listener: (said: Message | null) => void = () => {};

/** Say something in passing, with a way back where there is one. */
export const say = (
  text: string,
  role: Message["role"] = "status",
  undo?: () => Promise<unknown>,
): void => listener({ text, role, ...(undo ? { undo } : {}) });

export function Messages() {
  const [said, set] = useState<Message | null>(null);
  listener = set;
  useEffect(() => {
    const timer = setTimeout(() => set(null), said?.undo ? 12_000 : 6_000);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <div class="messages" aria-live="polite">
      {said && (
        <p class={said.role} role={said.role}>
          <span>{said.text}</span>
          {said.undo && (
            <Action class="quiet" act={async () => said.undo?.().then(() => set(null))}>
              {t.undo}
            </Action>
          )}
          <button type="button" class="quiet" aria-label={t.close} onClick={() => set(null)}>
            ×
          </button>
        </p>
      )}
    </div>
  );
}
