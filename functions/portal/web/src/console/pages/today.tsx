// Today: whom to call first, why, and with which number.

import { now } from "../../clock";
import { count, day } from "../../format";
import { read, readAll } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { to } from "../router";
import type { CurrentUsage, Entitlement, ListedFollowUp, Page } from "../types";
import { AsOf, Card, Empty, Loaded, Meter, Person, priced, Quoted, When, worthOf } from "../ui";

const DAY = 86_400_000;
const LIVE_MS = 15_000;
const SLOW_MS = 60_000;
const RENEWAL_DAYS = 90;
const SHOWN = 8;
/** The most entitlements that are over now which are read; the page says when there are more. */
const MOST_OVER = 300;

interface Over {
  entitlement: Entitlement;
  /** Usage limits that are above what was purchased. */
  limits: CurrentUsage[];
}

async function readOver(): Promise<Over[]> {
  const found = await readAll<Entitlement>("v1/entitlements", { overdraft: true }, MOST_OVER);
  return Promise.all(
    found.map(async (entitlement) => {
      const { seats } = entitlement;
      if ((seats && seats.used > seats.purchased) || !entitlement.usageLimits?.length)
        return { entitlement, limits: [] };
      const usage = await read<Page<CurrentUsage>>(
        `v1/entitlements/${entitlement.entitlementId}/usage`,
      );
      return {
        entitlement,
        limits: usage.items.filter((each) => each.usage.used > each.usage.purchased),
      };
    }),
  );
}

/** Who is over by the most value first, then by the most seats. Amounts of one currency are compared;
 *  the currency of the most customers comes first. */
export function byValue(over: Over[]): Over[] {
  const worth = (each: Over) => worthOf(each.entitlement)?.amount ?? 0;
  const currency = (each: Over) => (worth(each) ? (worthOf(each.entitlement)?.currency ?? "") : "");
  const seats = ({ entitlement: { seats } }: Over) => (seats ? seats.used - seats.purchased : 0);
  const customers = new Map<string, number>();
  for (const each of over) customers.set(currency(each), (customers.get(currency(each)) ?? 0) + 1);
  const rank = (each: Over) => (currency(each) ? (customers.get(currency(each)) ?? 0) : -1);
  return [...over].sort(
    (a, b) =>
      rank(b) - rank(a) ||
      currency(a).localeCompare(currency(b)) ||
      worth(b) - worth(a) ||
      seats(b) - seats(a),
  );
}

const monthBefore = () => {
  const today = new Date(now());
  return new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - 1, 15))
    .toISOString()
    .slice(0, 7);
};

/** Of both months that the last thirty days are in, the higher value of each entitlement. */
async function ranking(sort: "overdraft" | "denials", limit: number): Promise<Entitlement[]> {
  const [present, before] = await Promise.all([
    read<Page<Entitlement>>("v1/entitlements", { sort, limit }),
    read<Page<Entitlement>>("v1/entitlements", { sort, limit, month: monthBefore() }),
  ]);
  const found = new Map<string, Entitlement>();
  for (const each of [...present.items, ...before.items]) {
    const known = found.get(each.entitlementId);
    if (!known || rank(each) > rank(known)) {
      // What was denied today is known from this month's list.
      const deniedToday = known?.ranking?.deniedToday ?? each.ranking?.deniedToday ?? null;
      const ranked = each.ranking ? { ...each.ranking, deniedToday } : null;
      found.set(each.entitlementId, { ...each, ranking: ranked });
    }
  }
  return [...found.values()].sort((a, b) => rank(b) - rank(a));
}

const rank = ({ ranking }: Entitlement) =>
  ranking?.overdraftPercent ?? ranking?.deniedAttempts ?? 0;

async function readDue(): Promise<ListedFollowUp[]> {
  const states = ["open", "contacted", "quoted"];
  const pages = await Promise.all(
    states.map((state) =>
      read<Page<ListedFollowUp>>("v1/follow-ups", { state, due: true, limit: 100 }),
    ),
  );
  return pages
    .flatMap((page) => page.items)
    .sort((a, b) => Date.parse(a.dueAt ?? "") - Date.parse(b.dueAt ?? ""));
}

export function Today() {
  const over = useData("today/over", readOver, LIVE_MS);
  const denials = useData("today/denials", () => ranking("denials", 100), SLOW_MS);
  const top = useData("today/top", () => ranking("overdraft", 10), SLOW_MS);
  const renewals = useData(
    "today/renewals",
    () => read<Page<Entitlement>>("v1/entitlements", { sort: "renewal", limit: 50 }),
    SLOW_MS,
  );
  const due = useData("today/due", readDue, SLOW_MS);
  const deniedToday = (denials.data ?? []).filter((each) => (each.ranking?.deniedToday ?? 0) > 0);
  const attemptsToday = deniedToday.reduce(
    (sum, each) => sum + (each.ranking?.deniedToday ?? 0),
    0,
  );
  return (
    <>
      <header class="page-head">
        <h1>{t.today}</h1>
        <AsOf at={over.at} />
      </header>
      <ul class="counts">
        <li class={over.data?.length ? "over" : ""}>
          <a href={to(["entitlements"], { overdraft: "true" })}>
            <strong>{over.data ? count(over.data.length) : "…"}</strong>
            <span>{t.overNow}</span>
          </a>
        </li>
        <li class={attemptsToday ? "denied" : ""}>
          <a href={to(["entitlements"], { sort: "denials" })}>
            <strong>{denials.data ? count(attemptsToday) : "…"}</strong>
            <span>{t.deniedToday}</span>
          </a>
        </li>
        <li>
          <a href={to(["entitlements"], { sort: "renewal" })}>
            <strong>{renewals.data ? count(renewing(renewals.data.items).length) : "…"}</strong>
            <span>{t.renewSoon(RENEWAL_DAYS)}</span>
          </a>
        </li>
        <li class={due.data?.length ? "near" : ""}>
          <a href={to(["follow-ups"])}>
            <strong>{due.data ? count(due.data.length) : "…"}</strong>
            <span>{t.followUpsDue}</span>
          </a>
        </li>
      </ul>
      <div class="cards">
        <Card title={t.callFirst} wide>
          <Loaded of={over}>
            {(found) => <First over={byValue(found)[0]} denials={denials.data ?? []} />}
          </Loaded>
        </Card>
        <Card title={t.whoIsOver} wide>
          <Loaded of={over}>{(found) => <OverNow over={byValue(found)} />}</Loaded>
        </Card>
        <Card title={t.topOverdrafts}>
          <Loaded of={top}>{(found) => <Top found={found.slice(0, 10)} />}</Loaded>
        </Card>
        <Card title={t.turnedAway}>
          <Loaded of={denials}>{(found) => <Denied found={found.slice(0, SHOWN)} />}</Loaded>
        </Card>
        <Card title={t.endingSoon}>
          <Loaded of={over}>{(found) => <Ending over={found} />}</Loaded>
        </Card>
        <Card title={t.renewals(RENEWAL_DAYS)}>
          <Loaded of={renewals}>{(page) => <Renewals found={renewing(page.items)} />}</Loaded>
        </Card>
        <Card title={t.dueFollowUps} wide>
          <Loaded of={due}>{(found) => <Due found={found} />}</Loaded>
        </Card>
      </div>
    </>
  );
}

const daysTo = (at: string) => Math.ceil((Date.parse(at) - now()) / DAY);
const renewing = (items: Entitlement[]) =>
  items.filter((each) => each.validUntil && daysTo(each.validUntil) <= RENEWAL_DAYS);

const Link = ({ of, tab }: { of: Entitlement; tab?: string }) => (
  <a class="of" href={to(["entitlements", of.entitlementId, ...(tab ? [tab] : [])])}>
    <Quoted text={of.customer.name} />
    <small>
      <Quoted text={of.product} />
    </small>
  </a>
);

/** The reasons for a call, each a sentence. */
function reasonsOf({ entitlement, limits }: Over, denials: Entitlement[]): string[] {
  const { seats, overdraft, validUntil, entitlementId } = entitlement;
  const denied = denials.find((each) => each.entitlementId === entitlementId)?.ranking;
  return [
    seats && seats.used > seats.purchased && t.seatsOver(seats.used, seats.purchased),
    ...limits.map(({ key, usage }) => t.limitOver(key, usage.used, usage.purchased)),
    seats?.available === 0 && t.nobodyElse,
    denied?.deniedToday && t.attemptsToday(denied.deniedToday),
    denied?.deniedAttempts && t.attemptsInMonth(denied.deniedAttempts),
    overdraft && Date.parse(overdraft.endsAt) > now() && t.overdraftEnds(day(overdraft.endsAt)),
    validUntil && daysTo(validUntil) <= RENEWAL_DAYS && t.renewsIn(daysTo(validUntil)),
  ].filter((each): each is string => Boolean(each));
}

function First({ over, denials }: { over: Over | undefined; denials: Entitlement[] }) {
  if (!over) return <Empty title={t.nobodyOver}>{t.nobodyOverHint}</Empty>;
  const { entitlement } = over;
  const { seats, contacts } = entitlement;
  const value = worthOf(entitlement);
  const extra = seats ? Math.max(0, seats.used - seats.purchased) : 0;
  return (
    <div class="first">
      <div>
        <p class="lead">
          <Link of={entitlement} />
        </p>
        <ul class="reasons">
          {reasonsOf(over, denials).map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      </div>
      <div class="number">
        {extra > 0 && <strong>{t.moreSeats(extra)}</strong>}
        {value && value.amount > 0 && <span>{t.aMonth(priced(value))}</span>}
        {seats && <Meter used={seats.used} purchased={seats.purchased} hardCap={seats.hardCap} />}
      </div>
      <div class="whom">
        <Person contact={contacts?.customerAdmin} role={t.customerAdmin} />
        <Person contact={contacts?.accountOwner} role={t.accountOwner} />
        {!contacts?.customerAdmin && !contacts?.accountOwner && <p class="soft">{t.noContacts}</p>}
        <a class="button" href={to(["entitlements", entitlement.entitlementId, "follow-up"])}>
          {t.noteIt}
        </a>
      </div>
    </div>
  );
}

function OverNow({ over }: { over: Over[] }) {
  if (!over.length) return <Empty title={t.nobodyOver}>{t.nobodyOverHint}</Empty>;
  return (
    <>
      <ol class="rows">
        {over.slice(0, SHOWN).map(({ entitlement, limits }) => {
          const { seats } = entitlement;
          const isSeats = seats && seats.used > seats.purchased;
          const limit = limits[0]?.usage;
          const shown = isSeats ? seats : limit;
          return (
            <li key={entitlement.entitlementId}>
              <Link of={entitlement} />
              {shown && (
                <Meter used={shown.used} purchased={shown.purchased} hardCap={shown.hardCap} />
              )}
              <span class="figure">
                {shown && `${count(shown.used)} / ${count(shown.purchased)}`}
                <small>{isSeats ? t.seats : (limits[0]?.key ?? "")}</small>
              </span>
              <span class="figure">
                {priced(worthOf(entitlement))}
                <small>{t.perMonth}</small>
              </span>
            </li>
          );
        })}
      </ol>
      {over.length > SHOWN && (
        <a href={to(["entitlements"], { overdraft: "true" })}>{t.allOf(over.length)}</a>
      )}
    </>
  );
}

/** The highest overdrafts, each against its own purchase and hard cap. */
function Top({ found }: { found: Entitlement[] }) {
  if (!found.length) return <Empty title={t.noOverdrafts} />;
  return (
    <ol class="rows two">
      {found.map((each) => {
        const percent = each.ranking?.overdraftPercent;
        const purchased = each.seats?.purchased ?? 100;
        const cap = each.hardCap ?? null;
        const peak =
          percent === null || percent === undefined
            ? (each.seats?.used ?? 0)
            : purchased + Math.round((purchased * percent) / 100);
        return (
          <li key={each.entitlementId}>
            <Link of={each} />
            <Meter used={peak} purchased={purchased} hardCap={cap} />
            <span class="figure">
              {percent === null || percent === undefined ? t.stillOver : t.percentOver(percent)}
              <small>{t.boughtAndCap(purchased, cap)}</small>
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function Denied({ found }: { found: Entitlement[] }) {
  if (!found.length) return <Empty title={t.nobodyDenied} />;
  return (
    <ol class="rows two">
      {found.map((each) => (
        <li key={each.entitlementId}>
          <Link of={each} tab="denials" />
          <span class="figure denied">
            {each.ranking?.deniedToday ? t.attemptsShort(each.ranking.deniedToday) : "–"}
            <small>{t.today}</small>
          </span>
          <span class="figure">
            {t.attemptsShort(each.ranking?.deniedAttempts ?? 0)}
            <small>{t.inAMonth}</small>
          </span>
        </li>
      ))}
    </ol>
  );
}

function Ending({ over }: { over: Over[] }) {
  const found = over
    .flatMap(({ entitlement, limits }) => [
      { entitlement, clock: entitlement.overdraft, key: null as string | null },
      ...limits.map((each) => ({ entitlement, clock: each.overdraft, key: each.key })),
    ])
    .filter((each) => each.clock && !each.clock.recoversAt)
    .sort((a, b) => Date.parse(a.clock?.endsAt ?? "") - Date.parse(b.clock?.endsAt ?? ""));
  if (!found.length) return <Empty title={t.noneEnding}>{t.noneEndingHint}</Empty>;
  return (
    <ol class="rows two">
      {found.slice(0, SHOWN).map(({ entitlement, clock, key }) => (
        <li key={`${entitlement.entitlementId}${key}`}>
          <Link of={entitlement} />
          <span class="figure">
            <When at={clock?.endsAt} />
            <small>{key ?? t.seats}</small>
          </span>
        </li>
      ))}
    </ol>
  );
}

function Renewals({ found }: { found: Entitlement[] }) {
  if (!found.length) return <Empty title={t.noRenewals} />;
  return (
    <ol class="rows two">
      {found.slice(0, SHOWN).map((each) => (
        <li key={each.entitlementId}>
          <Link of={each} />
          <span class="figure">
            {each.seats ? `${count(each.seats.used)} / ${count(each.seats.purchased)}` : "–"}
            <small>{t.seats}</small>
          </span>
          <span class="figure">
            {each.validUntil ? t.inDays(daysTo(each.validUntil)) : ""}
            <small>{each.validUntil ? day(each.validUntil) : ""}</small>
          </span>
        </li>
      ))}
    </ol>
  );
}

function Due({ found }: { found: ListedFollowUp[] }) {
  if (!found.length) return <Empty title={t.nothingDue}>{t.nothingDueHint}</Empty>;
  return (
    <ol class="rows">
      {found.slice(0, SHOWN).map((each) => (
        <li key={each.entitlementId}>
          <Link of={each.entitlement} tab="follow-up" />
          <span>{t.states[each.state ?? "open"]}</span>
          <span>{each.owner ? <Quoted text={each.owner} /> : t.nobody}</span>
          <span class="figure">
            <When at={each.dueAt} />
          </span>
        </li>
      ))}
    </ol>
  );
}
