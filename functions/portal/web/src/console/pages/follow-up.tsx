// The follow-up of overdrafts by sales: of one entitlement, and all as a board.

import { useRef, useState } from "preact/hooks";
import { now } from "../../clock";
import { day } from "../../format";
import { call, read, readAll } from "../api";
import { type Data, useData } from "../data";
import { t } from "../messages";
import { to } from "../router";
import { may, session } from "../session";
import type { Entitlement, FollowUp, FollowUpEntry, ListedFollowUp, Page, Shown } from "../types";
import {
  Badge,
  Card,
  Dialog,
  Empty,
  Field,
  Input,
  Loaded,
  nameOf,
  priced,
  Quoted,
  Select,
  StateBadge,
  say,
  Table,
  textOf,
  When,
  worthOf,
} from "../ui";
import { fieldDay } from "../zoned";

const STATES = ["open", "contacted", "quoted", "won", "dismissed"] as const;
type State = (typeof STATES)[number];
const UNFINISHED: readonly string[] = ["open", "contacted", "quoted"];
const MOST = 300;
const DAY_MS = 86_400_000;
const LIVE_MS = 30_000;

const pathOf = (id: string) => `v1/entitlements/${encodeURIComponent(id)}/follow-up`;

/** Change a follow-up as it was seen; somebody else's change is not written over. Its new version. */
const change = async (id: string, body: Record<string, unknown>, etag: string | null) =>
  (await call<FollowUp>("PATCH", pathOf(id), { body, etag })).etag;

export function EntitlementFollowUp({ of }: Shown) {
  const path = pathOf(of.entitlementId);
  const found = useData(path, () => call<FollowUp>("GET", path), LIVE_MS);
  const entries = useData(
    `${path}/entries`,
    () => read<Page<FollowUpEntry>>(`${path}/entries`, { limit: 50 }),
    LIVE_MS,
  );
  const [isEditing, setEditing] = useState(false);
  return (
    <div class="cards">
      <Card
        title={t.tabs["follow-up"]}
        wide
        tools={
          may("manage", "report") && (
            <button type="button" class="primary" onClick={() => setEditing(true)}>
              {t.change}
            </button>
          )
        }
      >
        <Loaded of={found}>
          {({ data }) =>
            data.state ? (
              <dl class="terms">
                <div>
                  <dt>{t.state}</dt>
                  <dd>
                    <Badge kind={data.state === "open" ? "near" : ""}>{t.states[data.state]}</Badge>
                  </dd>
                </div>
                <div>
                  <dt>{t.owner}</dt>
                  <dd>{data.owner ? <Quoted text={data.owner} /> : t.nobody}</dd>
                </div>
                <div>
                  <dt>{t.dueOn}</dt>
                  <dd>
                    <When at={data.dueAt} />
                  </dd>
                </div>
                <div>
                  <dt>{t.note}</dt>
                  <dd>{data.note ? <Quoted text={data.note} /> : "–"}</dd>
                </div>
                {data.reason && (
                  <div>
                    <dt>{t.because}</dt>
                    <dd>{t.reasons[data.reason]}</dd>
                  </div>
                )}
              </dl>
            ) : (
              <Empty title={t.noFollowUp}>{t.noFollowUpHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      <Card title={t.history} wide>
        <Loaded of={entries}>
          {(page) =>
            page.items.length ? (
              <Table head={[t.when, t.by, t.state, t.owner, t.note]}>
                {page.items.map((each) => (
                  <tr key={each.changedAt}>
                    <td>
                      <When at={each.changedAt} />
                    </td>
                    <td>
                      {each.reason ? t.reasons[each.reason] : <Quoted text={each.changedBy} />}
                    </td>
                    <td>{t.states[each.state]}</td>
                    <td>{each.owner ? <Quoted text={each.owner} /> : "–"}</td>
                    <td>{each.note ? <Quoted text={each.note} /> : "–"}</td>
                  </tr>
                ))}
              </Table>
            ) : (
              <Empty title={t.noChanges} />
            )
          }
        </Loaded>
      </Card>
      {isEditing && (
        <EditFollowUp
          of={of}
          onClose={() => setEditing(false)}
          onDone={async () => {
            await Promise.all([found.reload(), entries.reload()]);
          }}
        />
      )}
    </div>
  );
}

function EditFollowUp({
  of,
  onClose,
  onDone,
}: {
  of: Entitlement;
  onClose: () => void;
  onDone: () => Promise<void>;
}) {
  const path = pathOf(of.entitlementId);
  const seen = useData(`${path}#edit`, () => call<FollowUp>("GET", path));
  const [state, setState] = useState<string | null>(null);
  const submit = async (form: FormData) => {
    const before = seen.data?.data;
    const due = String(form.get("due") ?? "");
    const owner = String(form.get("owner") ?? "").trim() || null;
    const note = String(form.get("note") ?? "").trim();
    const chosen = String(form.get("state"));
    // What nobody touched is not sent: a date has a time of day as well.
    const isMoved = UNFINISHED.includes(chosen) && due !== fieldDay(before?.dueAt);
    await change(
      of.entitlementId,
      {
        ...(chosen === (before?.state ?? "") ? {} : { state: chosen }),
        ...(owner === (before?.owner ?? null) ? {} : { owner }),
        ...(isMoved ? { dueAt: due ? new Date(`${due}T09:00`).toISOString() : null } : {}),
        ...(note ? { note } : {}),
      },
      seen.data?.etag ?? null,
    );
    await onDone();
    say(t.followUpSaved);
  };
  return (
    <Dialog title={nameOf(of)} onClose={onClose} onSubmit={submit}>
      <Loaded of={seen}>
        {({ data }) => (
          <>
            <Select
              label={t.state}
              name="state"
              value={state ?? data.state ?? "open"}
              onChange={(event) => setState(event.currentTarget.value)}
              options={STATES.map((each) => [each, t.states[each]])}
            />
            <Input
              label={t.owner}
              name="owner"
              maxLength={200}
              defaultValue={data.owner ?? ""}
              placeholder={session()?.name ?? ""}
              list="own-name"
            />
            <datalist id="own-name">
              <option value={session()?.name ?? session()?.actor ?? ""} />
            </datalist>
            {UNFINISHED.includes(state ?? data.state ?? "open") && (
              <Input label={t.dueOn} name="due" type="date" defaultValue={fieldDay(data.dueAt)} />
            )}
            <Field label={t.note}>
              {(id) => <textarea id={id} name="note" rows={4} maxLength={2000} />}
            </Field>
          </>
        )}
      </Loaded>
    </Dialog>
  );
}

// --- The board -----------------------------------------------------------------------------------

type Columns = Record<State, ListedFollowUp[]>;

async function readBoard(): Promise<Columns> {
  const lists = await Promise.all(
    STATES.map((state) =>
      readAll<ListedFollowUp>("v1/follow-ups", { state }, UNFINISHED.includes(state) ? MOST : 50),
    ),
  );
  return Object.fromEntries(STATES.map((state, n) => [state, lists[n] ?? []])) as Columns;
}

export function Board() {
  const board = useData("board", readBoard, LIVE_MS);
  const [editing, setEditing] = useState<ListedFollowUp | null>(null);
  return (
    <>
      <header class="page-head">
        <h1>{t.followUps}</h1>
      </header>
      <p class="soft">{may("manage", "report") ? t.boardHint : ""}</p>
      <Loaded of={board} rows={6}>
        {(columns) => (
          <div class="board">
            {STATES.map((state, n) => (
              <Column
                key={state}
                state={state}
                number={n}
                columns={columns}
                board={board}
                onOpen={setEditing}
              />
            ))}
          </div>
        )}
      </Loaded>
      {editing && (
        <EditFollowUp
          of={editing.entitlement}
          onClose={() => setEditing(null)}
          onDone={board.reload}
        />
      )}
    </>
  );
}

/** Move a card at once; back when the service refuses. */
async function move(board: Data<Columns>, card: ListedFollowUp, state: State): Promise<void> {
  const before = board.data;
  if (!before || card.state === state) return;
  const from = (card.state ?? "open") as State;
  const moved = { ...card, state };
  board.show({
    ...before,
    [from]: before[from].filter((each) => each.entitlementId !== card.entitlementId),
    [state]: [moved, ...before[state]],
  });
  try {
    const etag = await change(card.entitlementId, { state }, card.etag);
    say(t.movedTo(card.entitlement.customer.name, t.states[state]), "status", async () => {
      const isUnfinished = UNFINISHED.includes(from) && Date.parse(card.dueAt ?? "") > now();
      const dueAt = isUnfinished ? { dueAt: card.dueAt } : {};
      await change(card.entitlementId, { state: from, ...dueAt }, etag);
      await board.reload();
    });
    await board.reload();
  } catch (error) {
    board.show(before);
    say(textOf(error), "alert");
    await board.reload();
  }
}

function Column({
  state,
  number,
  columns,
  board,
  onOpen,
}: {
  state: State;
  number: number;
  columns: Columns;
  board: Data<Columns>;
  onOpen: (card: ListedFollowUp) => void;
}) {
  const [isOver, setOver] = useState(false);
  const list = useRef<HTMLOListElement>(null);
  const cards = columns[state];
  const mayMove = may("manage", "report");
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const id = event.dataTransfer?.getData("text/plain");
    const card = Object.values(columns)
      .flat()
      .find((each) => each.entitlementId === id);
    if (card) void move(board, card, state);
  };
  const onKey = (event: KeyboardEvent, card: ListedFollowUp) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step || !event.altKey || !mayMove) return;
    event.preventDefault();
    const towards = document.dir === "rtl" ? -step : step;
    const next = STATES[number + towards];
    if (next)
      void move(board, card, next).then(() =>
        document.getElementById(`card-${card.entitlementId}`)?.focus(),
      );
  };
  return (
    <section
      class={`column${isOver ? " over" : ""}`}
      aria-label={t.states[state]}
      onDragOver={(event) => {
        if (!mayMove) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <h2>
        {t.states[state]} <small>{cards.length}</small>
      </h2>
      <ol ref={list}>
        {cards.map((card) => {
          const { entitlement } = card;
          const isDue = card.dueAt !== null && Date.parse(card.dueAt) <= now();
          return (
            <li
              key={card.entitlementId}
              class="follow-up"
              draggable={mayMove}
              onDragStart={(event) => event.dataTransfer?.setData("text/plain", card.entitlementId)}
            >
              <button
                type="button"
                id={`card-${card.entitlementId}`}
                class="link strong"
                onClick={() => onOpen(card)}
                onKeyDown={(event) => onKey(event, card)}
              >
                <Quoted text={entitlement.customer.name} />
              </button>
              <small>
                <Quoted text={entitlement.product} />
              </small>
              <span class="facts">
                {entitlement.status !== "active" && <StateBadge of={entitlement} />}
                {(worthOf(entitlement)?.amount ?? 0) > 0 && (
                  <span>{priced(worthOf(entitlement))}</span>
                )}
                <span>{card.owner ? <Quoted text={card.owner} /> : t.nobody}</span>
                <span>
                  {t.age(Math.floor((now() - Date.parse(card.changedAt ?? "")) / DAY_MS))}
                </span>
                {card.dueAt && <span class={isDue ? "denied" : ""}>{t.due(day(card.dueAt))}</span>}
                <a href={to(["entitlements", card.entitlementId])}>{t.open}</a>
              </span>
            </li>
          );
        })}
      </ol>
      {!cards.length && <p class="soft">{t.nothingHere}</p>}
    </section>
  );
}
