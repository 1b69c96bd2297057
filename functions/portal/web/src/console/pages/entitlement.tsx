// One entitlement: how it stands, who holds seats, what was agreed, what was done about it.

import { useEffect, useRef } from "preact/hooks";
import { read } from "../api";
import { useData } from "../data";
import { drawnGraph } from "../graph";
import { t } from "../messages";
import { to, usePlace } from "../router";
import { may } from "../session";
import type { CurrentUsage, Denials, Entitlement, Episode, Forecast, Page, Shown } from "../types";
import {
  AsOf,
  Badge,
  Card,
  Empty,
  Loaded,
  Meter,
  Person,
  priced,
  Quoted,
  StateBadge,
  Table,
  When,
  worthOf,
} from "../ui";
import { applyZone, count, date, day } from "../zoned";
import { Access } from "./access";
import { EntitlementFollowUp } from "./follow-up";
import { Messages } from "./messages-sent";
import { People } from "./people";
import { Terms } from "./terms";
import { TrueUpPage } from "./true-up";
import { UsageLimits } from "./usage";

const LIVE_MS = 10_000;
const TABS = [
  "overview",
  "people",
  "denials",
  "usage",
  "terms",
  "true-up",
  "follow-up",
  "messages",
  "access",
] as const;
type Tab = (typeof TABS)[number];

/** Which tabs a person sees, by what there is and what they may do. */
function tabsOf(of: Entitlement): Tab[] {
  return TABS.filter((tab) => {
    if (tab === "usage") return Boolean(of.usageLimits?.length) || may("manage");
    if (tab === "true-up")
      return Boolean(of.overdraftPrice || of.usageLimits?.some((each) => each.overdraftPrice));
    if (tab === "people") return of.seats !== null;
    if (tab === "access") return may("manage", "support");
    return true;
  });
}

export function EntitlementPage({ id, tab }: { id: string; tab: string }) {
  const path = `v1/entitlements/${encodeURIComponent(id)}`;
  const found = useData(path, () => read<Entitlement>(path), LIVE_MS);
  return (
    <Loaded of={found} rows={6}>
      {(of) => {
        applyZone(of.timeZone);
        const tabs = tabsOf(of);
        const shown = tabs.includes(tab as Tab) ? (tab as Tab) : "overview";
        return (
          <>
            <header class="page-head">
              <div>
                <h1>
                  <Quoted text={of.customer.name} />
                </h1>
                <p class="soft">
                  <Quoted text={[of.product, of.sku, of.externalId].filter(Boolean).join(" · ")} />{" "}
                  <StateBadge of={of} />
                </p>
              </div>
              <AsOf at={found.at} />
            </header>
            <nav class="tabs" aria-label={t.sections}>
              {tabs.map((each) => (
                <a
                  key={each}
                  href={to(["entitlements", id, ...(each === "overview" ? [] : [each])])}
                  {...(each === shown ? { "aria-current": "page" as const } : {})}
                >
                  {t.tabs[each]}
                </a>
              ))}
            </nav>
            <Section tab={shown} of={of} path={path} reload={found.reload} />
          </>
        );
      }}
    </Loaded>
  );
}

function Section({ tab, ...shown }: Shown & { tab: Tab }) {
  switch (tab) {
    case "people":
      return <People {...shown} />;
    case "denials":
      return <DenialsOf {...shown} />;
    case "usage":
      return <UsageLimits {...shown} />;
    case "terms":
      return <Terms {...shown} />;
    case "true-up":
      return <TrueUpPage {...shown} />;
    case "follow-up":
      return <EntitlementFollowUp {...shown} />;
    case "messages":
      return <Messages {...shown} />;
    case "access":
      return <Access {...shown} />;
    default:
      return <Overview {...shown} />;
  }
}

function Overview({ of, path }: Shown) {
  const { seats, overdraft, contacts } = of;
  const usage = useData(`${path}/usage`, () => read<Page<CurrentUsage>>(`${path}/usage`), LIVE_MS);
  const forecast = useData(`${path}/forecast`, () => read<Forecast>(`${path}/forecast`));
  const episodes = useData(`${path}/overdrafts`, () =>
    read<Page<Episode>>(`${path}/overdrafts`, {
      limit: 10,
      from: new Date(Date.now() - 399 * 86_400_000).toISOString(),
    }),
  );
  return (
    <div class="cards">
      <Card title={t.now}>
        {seats ? (
          <>
            <p class="lead">
              {t.usedOf(seats.used, seats.purchased)}
              {seats.overdraftUsed > 0 && (
                <Badge kind="over">{t.overBy(seats.used - seats.purchased)}</Badge>
              )}
            </p>
            <Meter used={seats.used} purchased={seats.purchased} hardCap={seats.hardCap} />
            <dl class="figures">
              <Figure name={t.purchased} value={count(seats.purchased)} />
              <Figure
                name={t.hardCap}
                value={seats.hardCap === null ? t.none : count(seats.hardCap)}
              />
              <Figure
                name={t.free}
                value={seats.available === null ? "∞" : count(seats.available)}
              />
              {of.customerCap != null && (
                <Figure name={t.customerCap} value={count(of.customerCap)} />
              )}
              {worthOf(of) && <Figure name={t.worth} value={priced(worthOf(of))} />}
            </dl>
          </>
        ) : (
          <p class="soft">{t.noSeats}</p>
        )}
        {overdraft && (
          <p>
            {t.overdraftClock(
              day(overdraft.since),
              day(overdraft.endsAt),
              overdraft.recoversAt ? day(overdraft.recoversAt) : null,
            )}
          </p>
        )}
        <p class="soft">
          {of.validUntil ? t.validUntil(day(of.validUntil)) : t.withoutEnd}{" "}
          {t.times(of.timeZone ?? "UTC")}
        </p>
      </Card>
      <Card title={t.contacts}>
        {contacts?.customerAdmin || contacts?.accountOwner ? (
          <div class="whom">
            <Person contact={contacts?.customerAdmin} role={t.customerAdmin} />
            <Person contact={contacts?.accountOwner} role={t.accountOwner} />
          </div>
        ) : (
          <Empty title={t.noContacts}>{may("manage") ? t.noContactsHint : ""}</Empty>
        )}
        <h3>{t.forecast}</h3>
        <Loaded of={forecast} rows={1}>
          {(found) => <ForecastText of={found} />}
        </Loaded>
      </Card>
      <GraphCard of={of} path={path} />
      {Boolean(of.usageLimits?.length) && (
        <Card title={t.tabs.usage} wide>
          <Loaded of={usage}>
            {(page) => (
              <ol class="rows">
                {page.items.map((each) => (
                  <li key={each.key}>
                    <span class="of">
                      <Quoted text={each.key} />
                      <small>{t.resets[each.resetSchedule]}</small>
                    </span>
                    <Meter
                      used={each.usage.used}
                      purchased={each.usage.purchased}
                      hardCap={each.usage.hardCap}
                    />
                    <span class="figure">{`${count(each.usage.used)} / ${count(each.usage.purchased)}`}</span>
                    <span class="figure">{each.periodEnd ? t.until(day(each.periodEnd)) : ""}</span>
                  </li>
                ))}
              </ol>
            )}
          </Loaded>
        </Card>
      )}
      {seats && (
        <Card title={t.episodes} wide>
          <Loaded of={episodes}>
            {(page) =>
              page.items.length ? (
                <Table head={[t.began, t.ended, [t.peak], [t.seatHours], [t.deniedPeople]]}>
                  {page.items.map((each) => (
                    <tr key={each.episodeId}>
                      <td>
                        <When at={each.start} />
                      </td>
                      <td>
                        {each.end ? <When at={each.end} /> : <Badge kind="over">{t.goesOn}</Badge>}
                      </td>
                      <td class="number">{count(each.peak)}</td>
                      <td class="number">{count(Math.round(each.seatHours))}</td>
                      <td class="number">{count(each.deniedSeats)}</td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noEpisodes} />
              )
            }
          </Loaded>
        </Card>
      )}
    </div>
  );
}

export const Figure = ({ name, value }: { name: string; value: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>{value}</dd>
  </div>
);

const ForecastText = ({ of }: { of: Forecast }) => {
  if (of.status !== "ready") return <p class="soft">{t.tooEarly(of.known, of.needed, of.unit)}</p>;
  const lines = [
    of.purchased &&
      t.crossing(
        t.purchased,
        of.purchased.status,
        of.purchased.date ? date(of.purchased.date) : null,
      ),
    of.hardCap &&
      t.crossing(t.hardCap, of.hardCap.status, of.hardCap.date ? date(of.hardCap.date) : null),
  ];
  return (
    <ul class="reasons">
      {lines.filter(Boolean).map((each) => (
        <li key={each}>{each}</li>
      ))}
    </ul>
  );
};

/** The graph of the portal, with the vendor's eyes. */
function GraphCard({ of, path }: { of: Entitlement; path: string }) {
  const box = useRef<HTMLDivElement>(null);
  const meters = [...(of.seats ? [null] : []), ...(of.usageLimits ?? []).map((each) => each.key)];
  useEffect(() => {
    if (!box.current || !meters.length) return;
    return drawnGraph(box.current, path, meters);
  }, [path, meters.join()]);
  return <div ref={box} class="wide graph" />;
}

/** Who was turned away, by person and by day. */
function DenialsOf({ of, path }: Shown) {
  const { query } = usePlace();
  const days = Number(query.get("days")) || 30;
  const from = new Date(Date.now() - days * 86_400_000).toISOString();
  const found = useData(`${path}/denial-summary/${days}`, () =>
    read<Denials>(`${path}/denial-summary`, { from }),
  );
  return (
    <div class="cards">
      <Card title={t.turnedAwayIn(days)} wide>
        <Loaded of={found}>
          {(denials) =>
            denials.attempts ? (
              <>
                <p>{t.denials(denials.attempts, denials.people, denials.isComplete)}</p>
                <Bars days={denials.days} />
                <Table head={[t.person, [t.attempts], t.first, t.last, ""]}>
                  {denials.persons.map((each) => (
                    <tr key={each.seatKey}>
                      <td>
                        <Quoted text={each.seatName ?? each.seatId ?? each.seatKey} />
                        {each.seatName && each.seatId && (
                          <small>
                            <Quoted text={each.seatId} />
                          </small>
                        )}
                      </td>
                      <td class="number">{count(each.attempts)}</td>
                      <td>
                        <When at={each.firstAt} />
                      </td>
                      <td>
                        <When at={each.lastAt} />
                      </td>
                      <td>
                        <a
                          href={to(["why"], {
                            entitlement: of.entitlementId,
                            seatKey: each.seatKey,
                            at: each.lastAt,
                          })}
                        >
                          {t.why}
                        </a>
                      </td>
                    </tr>
                  ))}
                </Table>
              </>
            ) : (
              <Empty title={t.nobodyDenied}>{t.nobodyDeniedHint}</Empty>
            )
          }
        </Loaded>
      </Card>
    </div>
  );
}

/** Attempts by day, each a bar with its number. */
function Bars({ days }: { days: Denials["days"] }) {
  const most = Math.max(1, ...days.map((each) => each.attempts));
  return (
    <ol class="bars" aria-label={t.byDay}>
      {days.map((each) => (
        <li key={each.date}>
          <span>{date(each.date)}</span>
          <svg aria-hidden="true" preserveAspectRatio="none">
            <rect class="denied" width={`${(100 * each.attempts) / most}%`} height="100%" />
          </svg>
          <span class="figure">{t.attemptsShort(each.attempts)}</span>
        </li>
      ))}
    </ol>
  );
}
