// "Why was she denied yesterday at ten?" A person and a time give the answer on one page.

import { useEffect, useState } from "preact/hooks";
import { count } from "../../format";
import { read, readAll } from "../api";
import { useData } from "../data";
import { useSettled } from "../hooks";
import { t } from "../messages";
import { setQuery, to, usePlace } from "../router";
import type { Entitlement, Explanation, Page, Seat } from "../types";
import {
  Badge,
  Card,
  Empty,
  Field,
  Input,
  Loaded,
  Meter,
  nameOf,
  Quoted,
  Table,
  When,
} from "../ui";
import { applyZone, fieldTime } from "../zoned";
import { Figure } from "./entitlement";

export function Why() {
  const { query } = usePlace();
  const id = query.get("entitlement");
  const [seatId, setSeatId] = useState(query.get("seatId") ?? "");
  const [at, setAt] = useState(query.get("at") ?? "");
  useEffect(() => {
    setSeatId(query.get("seatId") ?? "");
    setAt(query.get("at") ?? "");
  }, [query.get("seatId"), query.get("seatKey"), query.get("at")]);
  const who = query.get("seatId") || query.get("seatKey");
  const path = id ? `v1/entitlements/${encodeURIComponent(id)}` : null;
  const of = useData(path, () => read<Entitlement>(path ?? ""));
  const found = useData(path && who ? `${path}/explain?${query}` : null, () =>
    read<Explanation>(`${path}/explain`, {
      seatId: query.get("seatId"),
      seatKey: query.get("seatId") ? null : query.get("seatKey"),
      at: query.get("at"),
    }),
  );
  const ask = (event: Event) => {
    event.preventDefault();
    setQuery({
      seatId: seatId || null,
      seatKey: seatId ? null : query.get("seatKey"),
      at: at ? new Date(at).toISOString() : null,
    });
  };
  return (
    <>
      <header class="page-head">
        <h1>{t.whyTitle}</h1>
      </header>
      <p class="soft">{t.whyHint}</p>
      <Card wide>
        <form class="why" onSubmit={ask}>
          <Choose chosen={of.data} />
          <Input
            label={t.seatId}
            name="seatId"
            value={seatId}
            placeholder={query.get("seatKey") ?? "ann@customer.example"}
            onInput={(event) => setSeatId(event.currentTarget.value)}
          />
          <Input
            label={t.atAbout}
            type="datetime-local"
            value={localOf(at)}
            onInput={(event) => setAt(event.currentTarget.value)}
            hint={t.atHint}
          />
          <button type="submit" class="primary" disabled={!id || !(seatId || query.get("seatKey"))}>
            {t.explain}
          </button>
        </form>
      </Card>
      {path && who && (
        <Loaded of={found} rows={6}>
          {(explanation) => (
            <Answer of={explanation} path={path} id={id ?? ""} zone={of.data?.timeZone} />
          )}
        </Loaded>
      )}
    </>
  );
}

/** What the field shows: a moment of the address, or what is being typed. */
const localOf = (at: string) =>
  Number.isNaN(Date.parse(at)) || !at.endsWith("Z") ? at : fieldTime(at);

/** Find the entitlement as one types. */
function Choose({ chosen }: { chosen: Entitlement | undefined }) {
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim(), 200);
  const found = useData(search ? `choose?${search}` : null, () =>
    read<Page<Entitlement>>("v1/entitlements", { search, limit: 8 }),
  );
  if (chosen && !typed)
    return (
      <p class="field">
        <span class="label">{t.entitlement}</span>
        <a href={to(["entitlements", chosen.entitlementId])}>{nameOf(chosen)}</a>
        <button type="button" class="quiet" onClick={() => setQuery({ entitlement: null })}>
          {t.another}
        </button>
      </p>
    );
  return (
    <Field label={t.entitlement}>
      {(fieldId) => (
        <>
          <input
            id={fieldId}
            type="search"
            value={typed}
            placeholder={t.searchHint}
            autocomplete="off"
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
          {found.data && (
            <ul class="choices">
              {found.data.items.map((each) => (
                <li key={each.entitlementId}>
                  <button
                    type="button"
                    class="link"
                    onClick={() => {
                      setTyped("");
                      setQuery({ entitlement: each.entitlementId });
                    }}
                  >
                    {nameOf(each)}
                  </button>
                </li>
              ))}
              {!found.data.items.length && <li class="soft">{t.nothingFound}</li>}
            </ul>
          )}
        </>
      )}
    </Field>
  );
}

/** The most people whose seats are looked at. */
const MOST = 2_000;

interface Held {
  seat: Seat;
  from: string;
  to: string | null;
}

/** The grant that a person held at a moment, if any. */
function heldAt(seat: Seat, at: string): Held[] {
  const moment = Date.parse(at);
  const past = seat.grants.find(
    (each) => Date.parse(each.from) <= moment && moment < Date.parse(each.to),
  );
  if (past) return [{ seat, from: past.from, to: past.to }];
  const isSince = seat.isHeld && Date.parse(seat.activatedAt ?? "") <= moment;
  return isSince ? [{ seat, from: seat.activatedAt ?? "", to: null }] : [];
}

function Answer({
  of,
  path,
  id,
  zone,
}: {
  of: Explanation;
  path: string;
  id: string;
  zone: string | undefined;
}) {
  applyZone(zone);
  const { denial } = of;
  const seats = useData(`${path}/seats?why`, () => readAll<Seat>(`${path}/seats`, {}, MOST));
  const held = (seats.data ?? []).flatMap((seat) => heldAt(seat, denial?.at ?? ""));
  return (
    <div class="cards">
      <Card title={t.answer} wide>
        <p class="lead">
          <Quoted text={of.summary} />
        </p>
        {of.isHeld ? (
          <p>
            <Badge kind="within">{t.holdsNow}</Badge> <When at={of.heldSince} />
          </p>
        ) : (
          <p>
            <Badge kind="">{t.holdsNone}</Badge>
          </p>
        )}
      </Card>
      {denial && (
        <Card title={t.limitsThen}>
          <p>
            <When at={denial.at} /> {!denial.isExact && <small>{t.withinQuarter}</small>}
          </p>
          <Meter used={denial.used} purchased={denial.purchased} hardCap={denial.hardCap} />
          <dl class="figures">
            <Figure name={t.inUse} value={count(denial.used)} />
            <Figure name={t.purchased} value={count(denial.purchased)} />
            <Figure
              name={t.hardCap}
              value={denial.hardCap === null ? t.none : count(denial.hardCap)}
            />
            <Figure name={t.attemptsInHour} value={count(denial.attemptsInHour)} />
          </dl>
          <p>{t.limitsReached[denial.limitReached]}</p>
          <p>
            {denial.nextLeaseExpiry ? (
              <>
                {t.nextFreed} <When at={denial.nextLeaseExpiry} />
              </>
            ) : (
              t.noNextFreed
            )}
          </p>
        </Card>
      )}
      <Card title={t.now}>
        <Meter used={of.seats.used} purchased={of.seats.purchased} hardCap={of.seats.hardCap} />
        <p>{t.usedOf(of.seats.used, of.seats.purchased)}</p>
        <h3>{t.changedSince}</h3>
        {of.changesSince.length ? (
          <ul class="reasons">
            {of.changesSince.map((each) => (
              <li key={each.changeId}>
                <When at={each.at} /> {t.entryTypes[each.type] ?? each.type}{" "}
                <Quoted text={each.actorName ?? each.actor ?? ""} />
              </li>
            ))}
          </ul>
        ) : (
          <p class="soft">{t.noChanges}</p>
        )}
      </Card>
      {denial && (
        <Card title={t.heldThen} wide>
          <Loaded of={seats}>
            {() =>
              held.length ? (
                <Table head={[t.person, t.since, t.heldUntil]}>
                  {held.map(({ seat, from, to: end }) => (
                    <tr key={seat.seatKey}>
                      <td>
                        <Quoted text={seat.seatName ?? seat.seatId ?? seat.seatKey} />
                      </td>
                      <td>
                        <When at={from} />
                      </td>
                      <td>
                        {end ? <When at={end} /> : <Badge kind="within">{t.stillHeld}</Badge>}
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.nobodyThen}>{t.nobodyThenHint}</Empty>
              )
            }
          </Loaded>
          {(seats.data?.length ?? 0) >= MOST && <p class="soft">{t.ofTheFirst(MOST)}</p>}
          <a href={to(["entitlements", id, "people"])}>{t.holders}</a>
        </Card>
      )}
    </div>
  );
}
