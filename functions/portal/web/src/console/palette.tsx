// Everything by keyboard: `Ctrl-K`, a few letters, Enter.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { read } from "./api";
import { useData } from "./data";
import { useSettled } from "./hooks";
import { t } from "./messages";
import { go, to } from "./router";
import type { Entitlement, Page } from "./types";
import { nameOf } from "./ui";

export interface Command {
  text: string;
  address: string;
}

export function Palette({ pages, onClose }: { pages: Command[]; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const search = useSettled(typed.trim(), 150);
  const found = useData(search ? `palette?${search}` : null, () =>
    read<Page<Entitlement>>("v1/entitlements", { search, limit: 8 }),
  );
  useLayoutEffect(() => dialog.current?.showModal(), []);
  useEffect(() => setAt(0), [typed]);
  const wanted = typed.trim().toLowerCase();
  const commands: Command[] = [
    ...pages.filter((each) => each.text.toLowerCase().includes(wanted)),
    ...(search ? (found.data?.items ?? []) : []).map((each) => ({
      text: nameOf(each),
      address: to(["entitlements", each.entitlementId]),
    })),
    ...(wanted
      ? [
          {
            text: t.searchAll(typed.trim()),
            address: to(["entitlements"], { search: typed.trim() }),
          },
        ]
      : []),
  ];
  const choose = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    go(command.address);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step) {
      event.preventDefault();
      setAt((at + step + commands.length) % Math.max(1, commands.length));
    }
    if (event.key === "Enter") {
      event.preventDefault();
      choose(commands[at]);
    }
  };
  return (
    <dialog ref={dialog} class="palette" aria-label={t.palette} onClose={onClose}>
      <input
        type="text"
        // biome-ignore lint/a11y/noRedundantRoles: an input without a datalist is a text box
        role="combobox"
        list={undefined}
        aria-label={t.palette}
        aria-expanded="true"
        aria-controls="commands"
        aria-activedescendant={`command-${at}`}
        placeholder={t.paletteHint}
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
        onKeyDown={onKey}
      />
      <div id="commands" role="listbox" tabIndex={-1} aria-label={t.palette}>
        {commands.map((each, n) => (
          <div
            key={each.address}
            id={`command-${n}`}
            role="option"
            tabIndex={-1}
            aria-selected={n === at}
            onMouseDown={(event) => {
              event.preventDefault();
              choose(each);
            }}
          >
            {each.text}
          </div>
        ))}
      </div>
    </dialog>
  );
}
