// The portal's graph in the console: the same picture, read with another credential.

import type { Graph } from "../api";
import { UseGraph } from "../graph";
import { read } from "./api";

const DAY_MS = 86_400_000;

/** Draw the graph into an element; returns how to take it away. */
export function drawnGraph(box: HTMLElement, path: string, meters: (string | null)[]): () => void {
  const rfc3339 = (at: number) => new Date(at).toISOString();
  const graph = new UseGraph(
    meters,
    (usageKey, from, to) =>
      read<Graph>(`${path}/graph`, { usageKey, from: rfc3339(from), to: rfc3339(to) }),
    () => {},
  );
  box.replaceChildren(graph.element);
  void graph.show(30 * DAY_MS, null);
  return () => box.replaceChildren();
}
