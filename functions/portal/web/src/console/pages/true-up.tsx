// What overdraft costs, line by line, with decisions.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { money, month } from "../../format";
import { call, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { setQuery, usePlace } from "../router";
import { may } from "../session";
import type { Shown, TrueUp, TrueUpLine } from "../types";
import { Badge, Card, Dialog, Empty, Input, Loaded, Quoted, Select, say, Table, When } from "../ui";

const MONTHS = 12;

export function lastMonths(number: number): string[] {
  const today = new Date(now());
  return Array.from({ length: number }, (_, n) =>
    new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - n, 15))
      .toISOString()
      .slice(0, 7),
  );
}

export function TrueUpPage({ path }: Shown) {
  const { query } = usePlace();
  const period = query.get("period") ?? lastMonths(1)[0] ?? "";
  const found = useData(`${path}/true-up?${period}`, () =>
    read<TrueUp>(`${path}/true-up`, { period }),
  );
  const [deciding, setDeciding] = useState<TrueUpLine | null>(null);
  return (
    <div class="cards">
      <Card
        title={t.tabs["true-up"]}
        wide
        tools={
          <select
            aria-label={t.month}
            value={period}
            onChange={(event) => setQuery({ period: event.currentTarget.value })}
          >
            {lastMonths(MONTHS).map((each) => (
              <option key={each} value={each}>
                {month(each)}
              </option>
            ))}
          </select>
        }
      >
        <Loaded of={found}>
          {(trueUp) => (
            <>
              <p class="lead">
                {trueUp.totals.map((each) => money(each.amount, each.currency)).join(" + ") ||
                  t.costsNothing}
              </p>
              {!trueUp.isFinal && <p class="soft">{t.notFinal}</p>}
              {trueUp.lines.length ? (
                <Table head={[t.what, [t.amount], t.evidence, t.decision, ""]}>
                  {trueUp.lines.map((line) => (
                    <tr key={line.lineId}>
                      <td>
                        {line.usageKey ?? t.seats}
                        <small>{month(line.month)}</small>
                      </td>
                      <td class="number">{money(line.amount, line.currency)}</td>
                      <td>{t.parts(line.parts.length)}</td>
                      <td>
                        {line.decision ? (
                          <>
                            <Badge kind="">{t.decisions[line.decision.decision ?? "billed"]}</Badge>
                            <small>
                              <Quoted
                                text={line.decision.decidedByName ?? line.decision.decidedBy ?? "–"}
                              />{" "}
                              <When at={line.decision.decidedAt} />
                            </small>
                            {line.decision.reason && (
                              <small>
                                <Quoted text={line.decision.reason} />
                              </small>
                            )}
                          </>
                        ) : (
                          t.undecided
                        )}
                      </td>
                      <td>
                        {trueUp.isFinal && may("manage", "report") && (
                          <button type="button" class="quiet" onClick={() => setDeciding(line)}>
                            {t.decide}
                          </button>
                        )}
                      </td>
                    </tr>
                  ))}
                </Table>
              ) : (
                <Empty title={t.noLines} />
              )}
            </>
          )}
        </Loaded>
      </Card>
      {deciding && (
        <Decide
          line={deciding}
          path={path}
          onClose={() => setDeciding(null)}
          onDone={found.reload}
        />
      )}
    </div>
  );
}

/** The dialog with which a line is decided. */
export function Decide({
  line,
  path,
  onClose,
  onDone,
}: {
  line: TrueUpLine;
  path: string;
  onClose: () => void;
  onDone: () => Promise<void>;
}) {
  const where = `${path}/true-up/lines/${encodeURIComponent(line.lineId)}/decision`;
  const decide = async (form: FormData) => {
    const decision = String(form.get("decision")) || null;
    await call("PUT", where, {
      body: {
        decision,
        reason: String(form.get("reason") ?? "").trim() || null,
        reference: String(form.get("reference") ?? "").trim() || null,
      },
    });
    await onDone();
    const before = line.decision;
    say(t.decided, "status", async () => {
      await call("PUT", where, {
        body: {
          decision: before?.decision ?? null,
          reason: before?.reason ?? null,
          reference: before?.reference ?? null,
        },
      });
      await onDone();
    });
  };
  return (
    <Dialog
      title={t.decideTitle(money(line.amount, line.currency))}
      onClose={onClose}
      onSubmit={decide}
    >
      <Select
        label={t.decision}
        name="decision"
        defaultValue={line.decision?.decision ?? "billed"}
        options={[
          ["billed", t.decisions.billed],
          ["waived", t.decisions.waived],
          ["disputed", t.decisions.disputed],
          ["", t.undecided],
        ]}
      />
      <Input
        label={t.reason}
        name="reason"
        maxLength={1000}
        defaultValue={line.decision?.reason ?? ""}
      />
      <Input
        label={t.reference}
        name="reference"
        maxLength={200}
        defaultValue={line.decision?.reference ?? ""}
        hint={t.referenceHint}
      />
    </Dialog>
  );
}
