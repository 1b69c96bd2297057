// Reports for sales and statements of what overdraft costs: made, watched, compared, opened.

import { useState } from "preact/hooks";
import { count, money, month } from "../../format";
import { post, read } from "../api";
import { useData, usePages } from "../data";
import { t } from "../messages";
import { setQuery, to, usePlace } from "../router";
import { may } from "../session";
import type { Page, Report, Statement, StatementLine } from "../types";
import {
  Action,
  Badge,
  Card,
  Dialog,
  Empty,
  Loaded,
  Person,
  Quoted,
  Select,
  say,
  Table,
  When,
} from "../ui";
import { Decide, DecisionShown, lastMonths } from "./true-up";

const WATCH_MS = 2_000;
const SLOW_MS = 60_000;
const isMaking = (each: Report | Statement) =>
  each.status !== "published" && each.status !== "failed";

function periodName({ period }: Report | Statement): string {
  if (period.month) return month(period.month);
  return period.quarter ?? period.week ?? `${period.from.slice(0, 10)} – ${period.to.slice(0, 10)}`;
}

export function Reports() {
  const [watched, setWatched] = useState(false);
  const reports = useData(
    "reports",
    async () => {
      const page = await read<Page<Report>>("v1/reports", { limit: 30 });
      setWatched(page.items.some(isMaking));
      return page;
    },
    watched ? WATCH_MS : SLOW_MS,
  );
  const statements = useData(
    "true-ups",
    async () => {
      const page = await read<Page<Statement>>("v1/true-ups", { limit: 30 });
      if (page.items.some(isMaking)) setWatched(true);
      return page;
    },
    watched ? WATCH_MS : SLOW_MS,
  );
  const [making, setMaking] = useState<"reports" | "true-ups" | null>(null);
  const make = async (form: FormData) => {
    await post(`v1/${making}`, {
      period: form.get("period"),
      sendEmail: form.get("sendEmail") === "on",
    });
    setWatched(true);
    await (making === "reports" ? reports : statements).reload();
    say(t.beingMade);
  };
  return (
    <>
      <header class="page-head">
        <h1>{t.reportsTitle}</h1>
      </header>
      <div class="cards">
        <Card
          title={t.reports}
          wide
          tools={
            <button type="button" class="primary" onClick={() => setMaking("reports")}>
              {t.newReport}
            </button>
          }
        >
          <Loaded of={reports}>
            {(page) =>
              page.items.length ? (
                <Table head={[t.period, t.state, [t.inOverdraft], [t.deniedPeople], t.made]}>
                  {page.items.map((each) => (
                    <tr key={each.reportId}>
                      <td>
                        <a href={to(["reports", each.reportId])}>{periodName(each)}</a>
                        {each.version !== null && each.version > 1 && (
                          <small>{t.version(each.version)}</small>
                        )}
                      </td>
                      <td>
                        <State of={each} />
                      </td>
                      <td class="number">{each.summary ? count(each.summary.inOverdraft) : "–"}</td>
                      <td class="number">{each.summary ? count(each.summary.deniedSeats) : "–"}</td>
                      <td>
                        <When at={each.createdAt} />
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noReports}>{t.noReportsHint}</Empty>
              )
            }
          </Loaded>
        </Card>
        <Card
          title={t.statements}
          wide
          tools={
            <button type="button" class="primary" onClick={() => setMaking("true-ups")}>
              {t.newStatement}
            </button>
          }
        >
          <Loaded of={statements}>
            {(page) =>
              page.items.length ? (
                <Table head={[t.period, t.state, [t.entitlements], [t.amount], t.made]}>
                  {page.items.map((each) => (
                    <tr key={each.trueUpId}>
                      <td>
                        <a href={to(["reports", "true-ups", each.trueUpId])}>{periodName(each)}</a>
                      </td>
                      <td>
                        <State of={each} />
                      </td>
                      <td class="number">
                        {each.summary ? count(each.summary.entitlements) : "–"}
                      </td>
                      <td class="number">
                        {each.summary?.totals
                          .map((sum) => money(sum.amount, sum.currency))
                          .join(" + ") || "–"}
                      </td>
                      <td>
                        <When at={each.createdAt} />
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noStatements}>{t.noStatementsHint}</Empty>
              )
            }
          </Loaded>
        </Card>
      </div>
      {making && (
        <Dialog
          title={making === "reports" ? t.newReport : t.newStatement}
          onClose={() => setMaking(null)}
          onSubmit={make}
          submit={t.make}
        >
          <Select
            label={t.period}
            name="period"
            options={lastMonths(13).map((each) => [each, month(each)])}
          />
          <label class="check">
            <input type="checkbox" name="sendEmail" /> {t.mailIt}
          </label>
        </Dialog>
      )}
    </>
  );
}

function State({ of }: { of: Report | Statement }) {
  const kind = of.status === "failed" ? "full" : of.status === "published" ? "within" : "near";
  return (
    <>
      <Badge kind={kind}>{t.reportStates[of.status] ?? of.status}</Badge>
      {of.status === "published" && !of.isComplete && <small>{t.soFar}</small>}
      {of.failure && (
        <small>
          <Quoted text={of.failure} />
        </small>
      )}
    </>
  );
}

const Files = ({ of }: { of: Report | Statement }) => (
  <span class="files">
    {of.files.map((each) => (
      <a key={each.format} href={each.url} target="_blank" rel="noreferrer">
        {each.format}
      </a>
    ))}
  </span>
);

/** One report: its totals beside those of the version or the period before, and whom to call. */
export function ReportPage({ id }: { id: string }) {
  const path = `v1/reports/${encodeURIComponent(id)}`;
  const found = useData(path, () => read<Report>(path), WATCH_MS * 5);
  const before = useOther<Report>("v1/reports", id, found.data?.previousReportId);
  return (
    <Loaded of={found} rows={6}>
      {(report) => (
        <>
          <header class="page-head">
            <h1>{periodName(report)}</h1>
            <Files of={report} />
          </header>
          <p>
            <State of={report} />
          </p>
          {report.summary ? (
            <div class="cards">
              <Card title={t.totals} tools={<CompareWith of={before} />}>
                <Table head={["", [t.thisOne], ...otherHead(before.data)]}>
                  {(
                    [
                      "entitlements",
                      "inOverdraft",
                      "denied",
                      "deniedSeats",
                      "deniedAttempts",
                      "underUsed",
                    ] as const
                  ).map((name) => (
                    <tr key={name}>
                      <th scope="row">{t.summary[name]}</th>
                      <td class="number">{count(report.summary?.[name] ?? 0)}</td>
                      {before.data?.summary && (
                        <td class="number">{count(before.data.summary[name])}</td>
                      )}
                    </tr>
                  ))}
                </Table>
                <p>
                  {report.summary.monthlyValue
                    .map((each) => t.aMonth(money(each.amount, each.currency)))
                    .join(" + ")}
                </p>
              </Card>
              <Card title={t.callList} wide>
                {report.summary.calls.length ? (
                  <ol class="calls">
                    {report.summary.calls.map((each) => (
                      <li key={each.entitlementId}>
                        <p class="strong">
                          <a href={to(["entitlements", each.entitlementId])}>
                            <Quoted text={`${each.customer} · ${each.product}`} />
                          </a>
                        </p>
                        <ul class="reasons">
                          {each.reasons.map((reason) => (
                            <li key={reason}>{reason}</li>
                          ))}
                        </ul>
                        <p>{each.advice}</p>
                        <Person contact={each.contact as never} role={t.customerAdmin} />
                      </li>
                    ))}
                  </ol>
                ) : (
                  <Empty title={t.nobodyToCall} />
                )}
              </Card>
            </div>
          ) : (
            <Empty title={t.reportStates[report.status] ?? report.status}>
              {report.failure ?? ""}
            </Empty>
          )}
        </>
      )}
    </Loaded>
  );
}

/** What a report is compared with: what was chosen in the address, or the version before. */
function useOther<T extends Report | Statement>(
  path: string,
  id: string,
  previous: string | null | undefined,
) {
  const { query } = usePlace();
  const chosen = query.get("with") ?? previous ?? "";
  const list = useData(`${path}#others`, () => read<Page<T>>(path, { limit: 100 }));
  const other = useData(chosen ? `${path}/${chosen}` : null, () =>
    read<T>(`${path}/${encodeURIComponent(chosen)}`),
  );
  const others = (list.data?.items ?? []).filter(
    (each) => each.status === "published" && idOf(each) !== id,
  );
  return { data: other.data, chosen, others };
}

const idOf = (of: Report | Statement): string => ("trueUpId" in of ? of.trueUpId : of.reportId);
const nameWithVersion = (of: Report | Statement): string =>
  [periodName(of), of.version && of.version > 1 && t.version(of.version)]
    .filter(Boolean)
    .join(" · ");
const otherHead = (other: Report | Statement | undefined): [string][] =>
  other?.summary ? [[nameWithVersion(other)]] : [];

function CompareWith({
  of: { chosen, others },
}: {
  of: { chosen: string; others: (Report | Statement)[] };
}) {
  if (!others.length) return null;
  return (
    <select
      aria-label={t.compareWith}
      value={chosen}
      onChange={(event) => setQuery({ with: event.currentTarget.value || null })}
    >
      <option value="">{t.compareWith}</option>
      {others.map((each) => (
        <option key={idOf(each)} value={idOf(each)}>
          {nameWithVersion(each)}
        </option>
      ))}
    </select>
  );
}

const DECIDED = ["undecided", "billed", "waived", "disputed"] as const;
const SUMS = ["amount", ...DECIDED] as const;
const nameOfSum = (sum: (typeof SUMS)[number]): string =>
  sum === "amount" ? t.amount : sum === "undecided" ? t.undecided : t.decisions[sum];

/** One statement: its totals beside those of another one, and its lines, which are decided here. */
export function StatementPage({ id }: { id: string }) {
  const path = `v1/true-ups/${encodeURIComponent(id)}`;
  const found = useData(path, () => read<Statement>(path), WATCH_MS * 5);
  const other = useOther<Statement>("v1/true-ups", id, found.data?.previousTrueUpId);
  const currencies = [found.data, other.data].flatMap(
    (each) => each?.summary?.totals.map((sum) => sum.currency) ?? [],
  );
  const sumOf = (of: Statement, currency: string, name: (typeof SUMS)[number]) =>
    money(of.summary?.totals.find((each) => each.currency === currency)?.[name] ?? "0", currency);
  return (
    <Loaded of={found} rows={4}>
      {(statement) => (
        <>
          <header class="page-head">
            <h1>
              {t.tabs["true-up"]} · {nameWithVersion(statement)}
            </h1>
            <Files of={statement} />
          </header>
          <p>
            <State of={statement} />
          </p>
          {statement.summary ? (
            <div class="cards">
              <Card title={t.totals} tools={<CompareWith of={other} />}>
                {currencies.length ? (
                  <Table head={["", [t.thisOne], ...otherHead(other.data)]}>
                    {[...new Set(currencies)].flatMap((currency) =>
                      SUMS.map((name) => (
                        <tr key={`${currency} ${name}`}>
                          <th scope="row">{nameOfSum(name)}</th>
                          <td class="number">{sumOf(statement, currency, name)}</td>
                          {other.data?.summary && (
                            <td class="number">{sumOf(other.data, currency, name)}</td>
                          )}
                        </tr>
                      )),
                    )}
                  </Table>
                ) : (
                  <p class="lead">{t.costsNothing}</p>
                )}
                <p class="soft">{t.totalsAsMade}</p>
              </Card>
              <Lines path={path} />
            </div>
          ) : (
            <Empty title={t.reportStates[statement.status] ?? statement.status}>
              {statement.failure ?? ""}
            </Empty>
          )}
        </>
      )}
    </Loaded>
  );
}

/** The lines of a statement, with the decisions as they are now. */
function Lines({ path }: { path: string }) {
  const { query } = usePlace();
  const wanted = query.get("decision");
  const lines = usePages<StatementLine>(path, `${path}/lines`, { decision: wanted });
  const [deciding, setDeciding] = useState<StatementLine | null>(null);
  return (
    <Card
      title={t.lines}
      wide
      tools={
        <select
          aria-label={t.decision}
          value={wanted ?? ""}
          onChange={(event) => setQuery({ decision: event.currentTarget.value || null })}
        >
          <option value="">{t.everyLine}</option>
          {DECIDED.map((each) => (
            <option key={each} value={each}>
              {nameOfSum(each)}
            </option>
          ))}
        </select>
      }
    >
      <Loaded of={lines.first}>
        {() => (
          <>
            {lines.items.length ? (
              <Table head={[t.customer, [t.amount], t.decision]}>
                {lines.items.map((line) => (
                  <tr key={`${line.entitlementId} ${line.lineId}`}>
                    <td>
                      <a
                        href={to(["entitlements", line.entitlementId, "true-up"], {
                          period: line.month,
                        })}
                      >
                        <Quoted text={line.customer.name} />
                      </a>
                      <small>
                        <Quoted text={[line.product, line.sku].filter(Boolean).join(" · ")} />
                      </small>
                      <details class="evidence">
                        <summary>
                          {line.usageKey ?? t.seats} · {month(line.month)}
                        </summary>
                        <Quoted text={line.evidence} />
                      </details>
                    </td>
                    <td class="number">{money(line.amount, line.currency)}</td>
                    <td>
                      <DecisionShown of={line.decision} />
                      {line.isFinal && may("manage", "report") && (
                        <p>
                          <button type="button" class="quiet" onClick={() => setDeciding(line)}>
                            {t.decide}
                          </button>
                        </p>
                      )}
                    </td>
                  </tr>
                ))}
              </Table>
            ) : (
              !lines.more && <Empty title={wanted ? t.noSuchLines : t.noLines} />
            )}
            {lines.more && (
              <Action class="quiet" act={lines.more}>
                {t.more}
              </Action>
            )}
          </>
        )}
      </Loaded>
      {deciding && (
        <Decide
          line={deciding}
          path={`v1/entitlements/${deciding.entitlementId}`}
          onClose={() => setDeciding(null)}
          onDone={async (decision) =>
            lines.change((each) =>
              each.entitlementId === deciding.entitlementId && each.lineId === deciding.lineId
                ? { ...each, decision }
                : each,
            )
          }
        />
      )}
    </Card>
  );
}
