// Who changed what: of one entitlement, or of all.

import { usePages } from "../data";
import { t } from "../messages";
import { to } from "../router";
import type { Change } from "../types";
import { Action, Empty, Loaded, Quoted, Table, When } from "../ui";

export function History({
  path,
  filters = {},
  showsOf = false,
  version = "",
}: {
  path: string;
  filters?: Record<string, string | null>;
  showsOf?: boolean;
  /** Read again when this changes. */
  version?: string;
}) {
  const { first, items, more } = usePages<Change>(`${path}#${version}`, path, {
    ...filters,
    ...span(),
  });
  return (
    <Loaded of={first}>
      {() =>
        items.length ? (
          <>
            <Table head={[t.when, t.by, t.what, ...(showsOf ? [t.entitlement] : [])]}>
              {items.map((each) => (
                <tr key={each.changeId}>
                  <td>
                    <When at={each.at} />
                  </td>
                  <td>
                    <Quoted text={each.actorName ?? each.actor ?? "–"} />
                    {each.actorName && each.actor && (
                      <small>
                        <Quoted text={each.actor} />
                      </small>
                    )}
                  </td>
                  <td>
                    {t.entryTypes[each.type] ?? each.type}
                    {each.subjectName && (
                      <small>
                        <Quoted text={each.subjectName} />
                      </small>
                    )}
                    <Changes of={each.changes} />
                    {each.reason && (
                      <small>
                        <Quoted text={each.reason} />
                      </small>
                    )}
                  </td>
                  {showsOf && (
                    <td>
                      {each.entitlementId && (
                        <a href={to(["entitlements", each.entitlementId])}>{each.entitlementId}</a>
                      )}
                    </td>
                  )}
                </tr>
              ))}
            </Table>
            {more && (
              <Action class="quiet" act={more}>
                {t.more}
              </Action>
            )}
          </>
        ) : (
          <Empty title={t.noChanges} />
        )
      }
    </Loaded>
  );
}

/** Until this day: a list of pages needs the same period on each. */
let until = "";
function span() {
  until ||= new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
  return { from: new Date(Date.parse(until) - 399 * 86_400_000).toISOString().slice(0, 10) };
}

const shown = (value: unknown): string =>
  value === null || value === undefined
    ? "–"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);

const FOLDED_FROM = 4;

function Changes({ of }: { of: Change["changes"] }) {
  const found = Object.entries(of ?? {});
  if (!found.length) return null;
  const list = (
    <ul>
      {found.map(([name, values]) => (
        <li key={name}>
          <code>{name}</code>{" "}
          <del>
            <Quoted text={shown(values?.before)} />
          </del>{" "}
          →{" "}
          <ins>
            <Quoted text={shown(values?.after)} />
          </ins>
        </li>
      ))}
    </ul>
  );
  if (found.length < FOLDED_FROM) return <div class="differences">{list}</div>;
  return (
    <details class="differences">
      <summary>{t.members(found.length)}</summary>
      {list}
    </details>
  );
}
