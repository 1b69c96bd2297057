// What overdraft costs, line by line, with decisions.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { money, month } from "../../format";
import { call, read } from "../api";
import { useData } from "../data";
import { t } from "../messages";
import { setQuery, usePlace } from "../router";
import { may } from "../session";
import type { DecidedLine, Decision, Shown, TrueUp, TrueUpLine } from "../types";
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
                        <DecisionShown of={line.decision} />
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
          onDone={() => found.reload()}
        />
      )}
    </div>
  );
}

/** What was decided about a line. */
export const DecisionShown = ({ of }: { of: Decision | null }) =>
  of?.decision ? (
    <>
      <Badge kind="">{t.decisions[of.decision]}</Badge>
      <small>
        <Quoted text={of.decidedByName ?? of.decidedBy ?? "–"} /> <When at={of.decidedAt} />
      </small>
      {[of.reference, of.reason].map(
        (each) =>
          each && (
            <small key={each}>
              <Quoted text={each} />
            </small>
          ),
      )}
    </>
  ) : (
    <span class="nowrap">{t.undecided}</span>
  );

/** The dialog with which a line is decided. */
export function Decide({
  line,
  path,
  onClose,
  onDone,
}: {
  line: Pick<TrueUpLine, "lineId" | "amount" | "currency" | "decision">;
  /** Where the API has the entitlement. */
  path: string;
  onClose: () => void;
  onDone: (decision: Decision) => Promise<void>;
}) {
  const where = `${path}/true-up/lines/${encodeURIComponent(line.lineId)}/decision`;
  const write = async (
    body: Pick<Decision, "decision" | "reason" | "reference">,
    etag: string | null,
  ) => {
    const answer = await call<DecidedLine>("PUT", where, { body, etag });
    await onDone(answer.data.decision);
    return answer.etag;
  };
  const decide = async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const before = line.decision;
    const etag = await write(
      {
        decision: text("decision") as Decision["decision"],
        reason: text("reason"),
        reference: text("reference"),
      },
      before ? null : '"0"',
    );
    // As it was left: what somebody has decided since is not written over.
    say(t.decided, "status", () =>
      write(
        {
          decision: before?.decision ?? null,
          reason: before?.reason ?? null,
          reference: before?.reference ?? null,
        },
        etag,
      ),
    );
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
