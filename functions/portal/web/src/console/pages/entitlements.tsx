// Every entitlement: found as one types, filtered by the address, as long a list as there is.

import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
} from "@tanstack/virtual-core";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { download } from "../../csv";
import { count, day } from "../../format";
import { type Query, read, readAll } from "../api";
import { useSession, useSettled } from "../hooks";
import { t } from "../messages";
import { setQuery, to, usePlace } from "../router";
import { may } from "../session";
import type { Entitlement, Page } from "../types";
import { Action, Empty, Meter, priced, Quoted, StateBadge, Trouble, worthOf } from "../ui";
import { NewEntitlement } from "./terms";

const ROW = 64;
const MOST_SAVED = 10_000;
const SETTLE_MS = 200;

/** How the list is read for what is in the address. */
function queriesOf(query: URLSearchParams): Query[] {
  const search = query.get("search")?.trim() ?? "";
  const filters = { status: query.get("status"), customer: query.get("customer") };
  if (search) {
    const found: Query[] = /[\p{L}\p{N}]/u.test(search) ? [{ ...filters, search }] : [];
    // A person, or an id of somebody's own system.
    found.push({ ...filters, seatId: search });
    if (/^[\w.:@-]{1,100}$/.test(search)) found.push({ ...filters, externalId: search });
    return found;
  }
  const sort = query.get("sort");
  if (sort) return [{ ...filters, sort }];
  return [{ ...filters, overdraft: query.get("overdraft") }];
}

/** The list, page by page; what several searches find is listed once. */
function useList(queries: Query[]) {
  const key = JSON.stringify(queries);
  const session = useSession();
  const [items, setItems] = useState<Entitlement[]>([]);
  const [error, setError] = useState<unknown>(null);
  const [isLoading, setLoading] = useState(true);
  const next = useRef<(string | null)[]>([]);
  const signal = useRef<AbortController | null>(null);

  const load = async (isFirst: boolean) => {
    const mine = isFirst ? new AbortController() : (signal.current ?? new AbortController());
    if (isFirst) {
      signal.current?.abort();
      signal.current = mine;
      next.current = queries.map(() => "");
    }
    setLoading(true);
    setError(null);
    try {
      const pages = await Promise.all(
        queries.map((query, n) =>
          next.current[n] === null
            ? null
            : read<Page<Entitlement>>(
                "v1/entitlements",
                { ...query, limit: 100, pageToken: next.current[n] || null },
                mine.signal,
              ),
        ),
      );
      if (mine.signal.aborted) return;
      next.current = pages.map((page) => page?.nextPageToken ?? null);
      const found = pages.flatMap((page) => page?.items ?? []);
      setItems((before) => {
        const known = new Map((isFirst ? [] : before).map((each) => [each.entitlementId, each]));
        for (const each of found) known.set(each.entitlementId, each);
        return [...known.values()];
      });
      setLoading(false);
    } catch (problem) {
      if (mine.signal.aborted) return;
      setError(problem);
      setLoading(false);
    }
  };
  useEffect(() => {
    if (session) void load(true);
    return () => signal.current?.abort();
  }, [key, session?.sessionId]);
  const hasMore = next.current.some((each) => each !== null);
  return { items, error, isLoading, hasMore, more: () => load(false), again: () => load(true) };
}

export function Entitlements() {
  const { query } = usePlace();
  const [typed, setTyped] = useState(query.get("search") ?? "");
  const settled = useSettled(typed, SETTLE_MS);
  const [isMaking, setMaking] = useState(false);
  useEffect(() => {
    if (settled !== (query.get("search") ?? "")) setQuery({ search: settled || null });
  }, [settled]);
  useEffect(() => {
    // Somebody went back, or came by another link.
    if ((query.get("search") ?? "") !== settled) setTyped(query.get("search") ?? "");
  }, [query.get("search")]);
  const text = query.toString();
  const queries = useMemo(() => queriesOf(new URLSearchParams(text)), [text]);
  const list = useList(queries);
  const isSearch = Boolean(query.get("search"));
  const save = async () => {
    const all = new Map<string, Entitlement>();
    for (const each of queries)
      for (const found of await readAll<Entitlement>("v1/entitlements", each, MOST_SAVED))
        all.set(found.entitlementId, found);
    download("entitlements", [t.columns, ...[...all.values()].map(rowOf)]);
  };
  return (
    <>
      <header class="page-head">
        <h1>{t.entitlements}</h1>
        <div class="tools">
          <Action class="quiet" act={save}>
            {t.csv}
          </Action>
          {may("manage") && (
            <button type="button" class="primary" onClick={() => setMaking(true)}>
              {t.newEntitlement}
            </button>
          )}
        </div>
      </header>
      <search class="filters">
        <input
          type="search"
          id="search"
          value={typed}
          placeholder={t.searchHint}
          aria-label={t.searchHint}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <select
          aria-label={t.statusFilter}
          value={query.get("status") ?? ""}
          onChange={(event) => setQuery({ status: event.currentTarget.value || null })}
        >
          <option value="">{t.everyStatus}</option>
          {(["active", "suspended", "expired", "not_yet_valid", "deleted"] as const).map((each) => (
            <option key={each} value={each}>
              {t.status[each]}
            </option>
          ))}
        </select>
        <select
          aria-label={t.order}
          value={query.get("sort") ?? (query.get("overdraft") ? "over" : "")}
          disabled={isSearch}
          onChange={(event) => {
            const { value } = event.currentTarget;
            setQuery({
              sort: value === "over" ? null : value || null,
              overdraft: value === "over" ? "true" : null,
            });
          }}
        >
          <option value="">{t.newestFirst}</option>
          <option value="over">{t.onlyOver}</option>
          <option value="overdraft">{t.highestOverdraft}</option>
          <option value="denials">{t.mostDenied}</option>
          <option value="renewal">{t.renewFirst}</option>
        </select>
        {query.get("customer") && (
          <button type="button" class="quiet" onClick={() => setQuery({ customer: null })}>
            {t.onlyCustomer(query.get("customer") ?? "")} ×
          </button>
        )}
      </search>
      {list.error !== null && (
        <Trouble error={list.error as Error} retry={() => void list.again()} />
      )}
      {!list.isLoading && !list.items.length && list.error === null ? (
        isSearch || query.size > 0 ? (
          <Empty title={t.nothingFound}>{t.nothingFoundHint}</Empty>
        ) : (
          <Empty title={t.noEntitlements}>{t.noEntitlementsHint}</Empty>
        )
      ) : (
        <Rows list={list} />
      )}
      {isMaking && <NewEntitlement onClose={() => setMaking(false)} />}
    </>
  );
}

const rowOf = (of: Entitlement) => [
  of.customer.name,
  of.product,
  of.sku ?? null,
  of.externalId ?? null,
  of.status,
  of.seats?.used ?? null,
  of.seats?.purchased ?? null,
  of.hardCap,
  worthOf(of)?.amount ?? null,
  worthOf(of)?.currency ?? null,
  of.validUntil ?? null,
  of.entitlementId,
];

/** The rows that can be seen; the others are only as high as they would be. */
function Rows({ list }: { list: ReturnType<typeof useList> }) {
  const box = useRef<HTMLDivElement>(null);
  const [, redraw] = useState(0);
  const { items } = list;
  const virtualizer = useRef<Virtualizer<HTMLDivElement, Element> | null>(null);
  const options = {
    count: items.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 8,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw((n) => n + 1),
  };
  if (!virtualizer.current) virtualizer.current = new Virtualizer(options);
  virtualizer.current.setOptions(options);
  const rows = virtualizer.current;
  useEffect(() => rows._didMount(), []);
  useEffect(() => rows._willUpdate());
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= items.length - 20 && list.hasMore && !list.isLoading && items.length)
      void list.more();
  }, [last, items.length, list.hasMore, list.isLoading]);
  return (
    <>
      <section class="list" ref={box} aria-label={t.entitlements}>
        <ul
          class="list-all"
          ref={(element) => element?.style.setProperty("height", `${rows.getTotalSize()}px`)}
        >
          {shown.map((row) => {
            const of = items[row.index];
            return of ? <Row key={of.entitlementId} of={of} top={row.start} /> : null;
          })}
        </ul>
      </section>
      <p class="soft" role="status">
        {list.isLoading
          ? t.loading
          : list.hasMore
            ? t.atLeast(items.length)
            : t.inAll(items.length)}
      </p>
    </>
  );
}

function Row({ of, top }: { of: Entitlement; top: number }) {
  const { seats, ranking } = of;
  const figure =
    ranking?.overdraftPercent != null
      ? t.percentOver(ranking.overdraftPercent)
      : ranking?.deniedAttempts != null
        ? t.attemptsShort(ranking.deniedAttempts)
        : of.validUntil
          ? t.until(day(of.validUntil))
          : "";
  return (
    <li
      class="list-row"
      ref={(element) => element?.style.setProperty("transform", `translateY(${top}px)`)}
    >
      <span class="of">
        <a href={to(["entitlements", of.entitlementId])}>
          <Quoted text={of.customer.name} />
        </a>
        <small>
          <Quoted text={[of.product, of.externalId].filter(Boolean).join(" · ")} />
        </small>
      </span>
      <span class="bar">
        {seats ? (
          <Meter used={seats.used} purchased={seats.purchased} hardCap={seats.hardCap} />
        ) : null}
      </span>
      <span class="figure">
        {seats ? `${count(seats.used)} / ${count(seats.purchased)}` : t.noSeats}
      </span>
      <span>
        <StateBadge of={of} />
      </span>
      <span class="figure extra">
        {seats && seats.used > seats.purchased && of.unitPrice ? priced(worthOf(of)) : figure}
      </span>
    </li>
  );
}
