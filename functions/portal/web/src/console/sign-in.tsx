// Signing in. Over a page that is open: what was typed there stays.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { vendorName } from "../dom";
import { Said } from "./api";
import { t } from "./messages";
import { provider, signIn } from "./session";
import { textOf } from "./ui";

/** Go to the provider. `inWindow`: in a window of its own, so that nothing typed here is lost. */
async function toProvider(inWindow: boolean): Promise<void> {
  // A browser opens windows only while it handles the click.
  const opened = inWindow ? window.open("about:blank", "_blank", "width=520,height=720") : null;
  try {
    const { goToProvider } = await import("./provider");
    await goToProvider(opened);
  } catch (error) {
    opened?.close();
    throw error instanceof Said ? error : new Said(t.scriptMissing);
  }
}

export function SignIn({ isAgain, problem = "" }: { isAgain: boolean; problem?: string }) {
  const [error, setError] = useState(problem);
  const [isBusy, setBusy] = useState(false);
  const dialog = useRef<HTMLDialogElement>(null);
  const state = provider();
  useLayoutEffect(() => {
    if (isAgain) dialog.current?.showModal();
  }, [isAgain]);
  const submit = async (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    try {
      await signIn({ apiKey: String(form.get("key") ?? "").trim() });
    } catch (found) {
      setError(textOf(found));
    } finally {
      setBusy(false);
    }
  };
  const content = (
    <div class="sign-in">
      <h1>{isAgain ? t.sessionEnded : t.signInTitle}</h1>
      <p class="soft">{isAgain ? t.nothingLost : t.signInFor(vendorName())}</p>
      {error && (
        <p class="trouble" role="alert">
          {error}
        </p>
      )}
      {state === "unreachable" && (
        <p class="trouble" role="alert">
          {t.providerUnreachable}
        </p>
      )}
      {state === "ready" && (
        <button
          type="button"
          class="primary large"
          onClick={() => toProvider(isAgain).catch((found) => setError(textOf(found)))}
        >
          {t.signIn}
        </button>
      )}
      <details open={state === "none"}>
        <summary>{t.withKey}</summary>
        <form onSubmit={submit}>
          <p class="field">
            <label for="key">{t.apiKey}</label>
            <input
              id="key"
              name="key"
              type="password"
              required
              autocomplete="off"
              spellcheck={false}
            />
            <small>{t.keyIsNotKept}</small>
          </p>
          <button type="submit" class={state === "ready" ? "quiet" : "primary"} disabled={isBusy}>
            {t.signIn}
          </button>
        </form>
      </details>
    </div>
  );
  if (!isAgain) return <main class="alone">{content}</main>;
  return (
    <dialog ref={dialog} aria-label={t.sessionEnded} onCancel={(event) => event.preventDefault()}>
      {content}
    </dialog>
  );
}
