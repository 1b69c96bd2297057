// Who holds a seat: since when, on which device, in overdraft, idle. Seats can be released here.

import { useState } from "preact/hooks";
import { now } from "../../clock";
import { download } from "../../csv";
import { localTime } from "../../format";
import { post, read, readAll } from "../api";
import { useData } from "../data";
import { useSettled } from "../hooks";
import { t } from "../messages";
import { to } from "../router";
import { may } from "../session";
import type { Entitlement, HeldSeat, Seat, Shown } from "../types";
import {
  Action,
  Badge,
  Card,
  Confirm,
  Dialog,
  Empty,
  Loaded,
  Quoted,
  say,
  Table,
  When,
} from "../ui";

const LIVE_MS = 10_000;
const MOST = 1_000;
const IDLE_MS = 2 * 3_600_000;

export function People({ of, path, reload }: Shown) {
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim(), 200);
  const [releasing, setReleasing] = useState<HeldSeat | null>(null);
  const [shown, setShown] = useState<string | null>(null);
  const held = useData(
    `${path}/activations?${search}`,
    () =>
      search
        ? readAll<HeldSeat>(`${path}/activations`, { search }, 200)
        : readAll<HeldSeat>(`${path}/activations`, {}, MOST),
    LIVE_MS,
  );
  const save = async () => {
    const all = await readAll<HeldSeat>(`${path}/activations`, {}, 100_000);
    download("holders", [
      t.holderColumns,
      ...all.map((each) => [
        each.seatId,
        each.seatName,
        localTime(each.activatedAt),
        each.lastSeenAt ? localTime(each.lastSeenAt) : null,
        each.leaseExpiry ? localTime(each.leaseExpiry) : null,
        String(each.isOverdraftSeat),
        String(each.isBorrowed),
      ]),
    ]);
  };
  const release = async (seat: HeldSeat) => {
    await post(`${path}/seats/release`, { seatKey: seat.seatKey });
    await Promise.all([held.reload(), reload()]);
    say(t.released(seat.seatName ?? seat.seatId ?? seat.seatKey));
  };
  return (
    <div class="cards">
      <Card
        title={t.holders}
        wide
        tools={
          <>
            <input
              type="search"
              value={typed}
              placeholder={t.findPerson}
              aria-label={t.findPerson}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
            <Action class="quiet" act={save}>
              {t.csv}
            </Action>
          </>
        }
      >
        <Loaded of={held}>
          {(seats) =>
            seats.length ? (
              <>
                <Table head={[t.person, t.since, t.lastSeen, t.leaseEnds, t.device, ""]}>
                  {seats.map((seat) => (
                    <tr key={seat.activationId}>
                      <td>
                        <button type="button" class="link" onClick={() => setShown(seat.seatKey)}>
                          <Quoted text={seat.seatName ?? seat.seatId ?? seat.seatKey} />
                        </button>
                        {seat.seatName && seat.seatId && (
                          <small>
                            <Quoted text={seat.seatId} />
                          </small>
                        )}
                        {seat.isOverdraftSeat && <Badge kind="over">{t.overdraft}</Badge>}
                        {seat.isBorrowed && <Badge kind="">{t.borrowed}</Badge>}
                        {isIdle(seat) && <Badge kind="">{t.idle}</Badge>}
                      </td>
                      <td>
                        <When at={seat.activatedAt} />
                      </td>
                      <td>
                        <When at={seat.lastSeenAt} />
                      </td>
                      <td>
                        <When at={seat.leaseExpiry} />
                      </td>
                      <td>
                        <Device of={seat.attributes} />
                      </td>
                      <td>
                        {may("manage", "support", "activate") && (
                          <button type="button" class="quiet" onClick={() => setReleasing(seat)}>
                            {t.release}
                          </button>
                        )}
                      </td>
                    </tr>
                  ))}
                </Table>
                {seats.length >= MOST && <p class="soft">{t.firstOf(MOST)}</p>}
              </>
            ) : search ? (
              <Empty title={t.nothingFound}>{t.findPersonHint}</Empty>
            ) : (
              <Empty title={t.noHolders}>{t.noHoldersHint}</Empty>
            )
          }
        </Loaded>
      </Card>
      {releasing && (
        <Dialog
          title={t.releaseTitle}
          submit={t.release}
          danger
          onClose={() => setReleasing(null)}
          onSubmit={() => release(releasing)}
        >
          <p>
            <Quoted text={releasing.seatName ?? releasing.seatId ?? releasing.seatKey} />
          </p>
          <p class="soft">{t.releaseMeans(of.leasePeriod !== null)}</p>
        </Dialog>
      )}
      {shown && <OnePerson of={of} path={path} seatKey={shown} onClose={() => setShown(null)} />}
    </div>
  );
}

const isIdle = (seat: HeldSeat) =>
  now() - Date.parse(seat.lastSeenAt ?? seat.activatedAt) > IDLE_MS;

const Device = ({ of }: { of: Record<string, string> | undefined }) => (
  <Quoted
    text={
      Object.entries(of ?? {})
        .map(([name, value]) => `${name}: ${value}`)
        .join(", ") || "–"
    }
  />
);

/** What is known of one person's seat. */
function OnePerson({
  of,
  path,
  seatKey,
  onClose,
}: {
  of: Entitlement;
  path: string;
  seatKey: string;
  onClose: () => void;
}) {
  const where = `${path}/seats/${encodeURIComponent(seatKey)}`;
  const found = useData(where, () => read<Seat>(where, { by: "key" }));
  return (
    <Dialog title={t.onePerson} onClose={onClose}>
      <Loaded of={found}>
        {(seat) => (
          <>
            <p class="lead">
              <Quoted text={seat.seatName ?? seat.seatId ?? seat.seatKey} />
            </p>
            {seat.seatId && (
              <p class="soft">
                <Quoted text={seat.seatId} />
              </p>
            )}
            <p>{t.grantsInAll(seat.grantCount)}</p>
            <Table head={[t.since, t.ended, t.endReason]}>
              {seat.grants.map((each) => (
                <tr key={each.from}>
                  <td>
                    <When at={each.from} />
                    {each.isOverdraftSeat && <Badge kind="over">{t.overdraft}</Badge>}
                  </td>
                  <td>
                    <When at={each.to} />
                  </td>
                  <td>{t.endReasons[each.reason]}</td>
                </tr>
              ))}
            </Table>
            {may("manage") && !seat.erasedAt && (
              <Confirm
                label={t.erase}
                title={t.eraseTitle}
                means={t.eraseMeans}
                act={async () => {
                  await post(`${path}/seats/erase`, { seatKey });
                  await found.reload();
                  say(t.erased);
                }}
              />
            )}
            <p>
              <a href={to(["why"], { entitlement: of.entitlementId, seatKey })} onClick={onClose}>
                {t.whyDenied}
              </a>
            </p>
          </>
        )}
      </Loaded>
    </Dialog>
  );
}
