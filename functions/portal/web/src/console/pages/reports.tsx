// Reports for sales and statements of what overdraft costs: made, watched, compared, opened.

import { useState } from "preact/hooks";
import { count, money, month } from "../../format";
import { post, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { to } from "../router";
import type { Page, Report, Statement } from "../types";
import {
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
import { lastMonths } from "./true-up";

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
  const previousId = found.data?.previousReportId;
  const before = useData(previousId ? `v1/reports/${previousId}` : null, () =>
    read<Report>(`v1/reports/${previousId}`),
  );
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
              <Card title={t.totals}>
                <Table
                  head={[
                    "",
                    [t.thisOne],
                    ...(before.data?.summary ? [[t.theOneBefore] as [string]] : []),
                  ]}
                >
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

/** One statement: its totals and files. Its lines are decided where they belong, at the entitlement. */
export function StatementPage({ id }: { id: string }) {
  const path = `v1/true-ups/${encodeURIComponent(id)}`;
  const found = useData(path, () => read<Statement>(path), WATCH_MS * 5);
  return (
    <Loaded of={found} rows={4}>
      {(statement) => (
        <>
          <header class="page-head">
            <h1>{periodName(statement)}</h1>
            <Files of={statement} />
          </header>
          <p>
            <State of={statement} />
          </p>
          <Card wide>
            <p class="lead">
              {statement.summary?.totals
                .map((sum) => money(sum.amount, sum.currency))
                .join(" + ") || t.costsNothing}
            </p>
            <p class="soft">{t.decideThere}</p>
          </Card>
        </>
      )}
    </Loaded>
  );
}
