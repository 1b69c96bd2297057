// Where somebody is: `#/entitlements/ent_1/people?search=ann`. It stays in the fragment, which no
// browser sends: names that are searched for are in no log.

import { useLayoutEffect, useState } from "preact/hooks";

export interface Place {
  /** The parts of the path. */
  parts: string[];
  query: URLSearchParams;
}

/** A part of an address; one that is no such code is taken as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function current(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return {
    parts: path.split("/").filter(Boolean).map(decoded),
    query: new URLSearchParams(query),
  };
}

/** The address of a place, for a link. */
export function to(parts: string[], query: Record<string, string | null | undefined> = {}): string {
  const given = Object.entries(query).filter((each): each is [string, string] => Boolean(each[1]));
  const text = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Go to a place. `replace`: the back button does not lead back to where one was. */
export function go(address: string, replace = false): void {
  if (address === location.hash) return;
  if (replace) {
    history.replaceState(null, "", address);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = address;
}

/** Where somebody is now. */
export function usePlace(): Place {
  const [place, set] = useState(current);
  // Before the first paint: what changes right after it is not missed.
  useLayoutEffect(() => {
    const onChange = () => set(current());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return place;
}

/** Change the query of where somebody is; filters live in the address. */
export function setQuery(changes: Record<string, string | null>): void {
  const { parts, query } = current();
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  go(to(parts, Object.fromEntries(query)), true);
}
