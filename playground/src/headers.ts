// The text of the headers editor. It holds the token, so nothing of it may reach localStorage, which outlives the
// browser; what a person typed is kept in sessionStorage, until the tab of the browser is closed.
import { parse } from "jsonc-parser";
import type { Headers } from "./server";

const KEY = "trellis-headers";

const given = document.querySelector<HTMLMetaElement>("meta[name=trellis-token]")?.content ?? "";

/** What is in the editor now. */
let text = remembered() ?? JSON.stringify({ Authorization: `Bearer ${given}`, "X-Debug": "sql" }, null, 2);

export function headersText(): string {
  return text;
}

/** The same as an object; empty while it is no JSON. */
export function headers(): Headers {
  const value: unknown = parse(text);
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([name, value]) => [name, String(value)]));
}

/** Takes what a person typed. */
export function typed(value: string): void {
  text = value;
  sessionStorage.setItem(KEY, JSON.stringify({ given, text }));
}

/** What was typed before a reload. It is worth nothing when the server gives another token now. */
function remembered(): string | undefined {
  const stored = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return stored?.given === given ? stored.text : undefined;
}

/**
 * localStorage as GraphiQL may use it. It leaves headers out of the tabs that it stores, but not out of the history.
 */
export const storage: Storage = {
  get length() {
    return localStorage.length;
  },
  key: (index) => localStorage.key(index),
  getItem: (key) => localStorage.getItem(key),
  removeItem: (key) => localStorage.removeItem(key),
  setItem(key, value) {
    if (key !== "graphiql:headers") localStorage.setItem(key, withoutHeaders(value));
  },
  clear() {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("graphiql:")) localStorage.removeItem(key);
    }
  },
};

function withoutHeaders(value: string): string {
  if (!value.includes('"headers"')) return value;
  try {
    return JSON.stringify(JSON.parse(value), (key, inner) => (key === "headers" ? null : inner));
  } catch {
    // A document or variables that a person is typing: not JSON, or not yet.
    return value;
  }
}
