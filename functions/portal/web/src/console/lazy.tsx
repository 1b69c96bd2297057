// Pages whose scripts are fetched when they are wanted.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Said } from "./api";
import { t } from "./messages";
import { Trouble, Waiting } from "./ui";

const IDLE_MS = 2_000;
const wanted: (() => Promise<unknown>)[] = [];

/** A component that is fetched when it is first shown. */
export function onDemand<P extends object>(fetch: () => Promise<ComponentType<P>>) {
  let Found: ComponentType<P> | undefined;
  const load = async () => {
    Found ??= await fetch();
  };
  wanted.push(load);
  return function OnDemand(props: P) {
    const [error, setError] = useState<Error | null>(null);
    const [, redraw] = useState(0);
    const begin = () => {
      setError(null);
      load().then(() => redraw((n) => n + 1), setError);
    };
    useEffect(() => {
      if (!Found) begin();
      addEventListener("online", begin);
      return () => removeEventListener("online", begin);
    }, []);
    // A newer release has other scripts: then the whole page has to be read again.
    const again = () => (navigator.onLine ? location.reload() : begin());
    if (error && !Found) return <Trouble error={new Said(t.scriptMissing)} retry={again} />;
    return Found ? <Found {...props} /> : <Waiting rows={6} />;
  };
}

/** Fetch the others when there is time: each is there at once, when it is wanted. */
export function fetchLater(): void {
  const next = () => {
    const load = wanted.shift();
    load?.().then(
      () => setTimeout(next),
      () => {},
    );
  };
  setTimeout(next, IDLE_MS);
}
