/**
 * The vendor's side of the API: every operation of its description, by its name, with its types.
 *
 * ```ts
 * const vendor = new Vendor("https://licenses.example.com", { apiKey: "key_…" });
 * const made = await vendor.call("POST /v1/entitlements", { body: { product: "CAD Pro", ... } });
 * ```
 */

import { randomUUID } from "node:crypto";
import type { paths } from "./generated/api.js";
import { Sender, type SenderOptions, segment } from "./requests.js";

type Method = "get" | "post" | "put" | "patch" | "delete";

/** Every call: a method and a path of the API's description. */
export type Call = {
  [Path in keyof paths]: {
    [M in Method]: paths[Path][M] extends object ? `${Uppercase<M>} ${Path & string}` : never;
  }[Method];
}[keyof paths];

type Operation<C extends Call> = C extends `${infer M} ${infer Path}`
  ? Path extends keyof paths
    ? paths[Path][Lowercase<M> & Method]
    : never
  : never;

type Parameters<O> = O extends { parameters: infer P } ? P : never;
type PathOf<P> = P extends { path: infer F } ? { path: F } : unknown;
type QueryOf<P> = P extends { query?: infer Q } ? { query?: Q } : unknown;
type Content<B> = { content: { "application/json": B } };
type BodyOf<O> = O extends { requestBody: Content<infer B> }
  ? { body: B }
  : O extends { requestBody?: Content<infer B> }
    ? { body?: B }
    : unknown;

/** What a call is given: the members of its path, its query, its body, and headers. */
export type Input<C extends Call> = PathOf<Parameters<Operation<C>>> &
  QueryOf<Parameters<Operation<C>>> &
  BodyOf<Operation<C>> & { headers?: Record<string, string> };

/** It may be left out if nothing has to be given. */
type Arguments<C extends Call> =
  Record<never, never> extends Input<C> ? [input?: Input<C>] : [input: Input<C>];

type Json<R> = R extends Content<infer B> ? B : never;

/** What a call answers; null if it answers nothing. */
export type Output<C extends Call> =
  Operation<C> extends { responses: infer R }
    ? [Json<R[keyof R & (200 | 201 | 202)]>] extends [never]
      ? null
      : Json<R[keyof R & (200 | 201 | 202)]>
    : never;

export interface VendorOptions extends SenderOptions {
  apiKey: string;
}

/** A stack of Overdraft, as software of the vendor sees it. */
export class Vendor {
  readonly #sender: Sender;

  constructor(url: string, options: VendorOptions) {
    this.#sender = new Sender(url, "Bearer", options.apiKey, options);
  }

  /**
   * Make a call. A POST has an `Idempotency-Key`, so it is done once, however often it is sent.
   *
   * @throws Refused The stack has said no.
   * @throws Unavailable It has not answered.
   */
  async call<C extends Call>(call: C, ...given: Arguments<C>): Promise<Output<C>> {
    return (await this.request(call, ...given)).body;
  }

  /** The same, with the headers of the answer, such as its `etag` for `If-Match`. */
  async request<C extends Call>(
    call: C,
    ...given: Arguments<C>
  ): Promise<{ body: Output<C>; headers: Headers }> {
    const { body, headers } = await this.#send(call, given[0] ?? {});
    return { body: body as Output<C>, headers };
  }

  #send(call: string, input: LooseInput): Promise<{ body: unknown; headers: Headers }> {
    const { path = {}, query = {}, body, headers } = input;
    const [method = "", pattern = ""] = call.split(" ");
    const filled = pattern.replace(/\{(\w+)\}/g, (_, name: string) => segment(path[name]));
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) given.append(name, String(value));
    }
    const search = String(given);
    const once: Record<string, string> =
      method === "POST" ? { "idempotency-key": randomUUID() } : {};
    return this.#sender.send({
      method,
      path: search === "" ? filled : `${filled}?${search}`,
      body,
      headers: { ...once, ...headers },
    });
  }

  /** Every item of a list, page by page. */
  async *list<C extends Call>(call: C, ...given: Arguments<C>): AsyncGenerator<Item<Output<C>>> {
    const input: LooseInput = given[0] ?? {};
    let pageToken: string | null = null;
    do {
      const query: Record<string, unknown> = { ...input.query, ...(pageToken && { pageToken }) };
      const { body } = await this.#send(call, { ...input, query });
      const page = body as Page<Item<Output<C>>>;
      yield* page.items;
      pageToken = page.nextPageToken;
    } while (pageToken !== null);
  }
}

type Item<P> = P extends { items: (infer I)[] } ? I : never;

interface Page<I> {
  items: I[];
  nextPageToken: string | null;
}

interface LooseInput {
  path?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  headers?: Record<string, string>;
}
