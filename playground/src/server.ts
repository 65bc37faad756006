// Talks to the server, in the headers that the page has.
import type { ExecutionResult } from "graphql";

export type Headers = Record<string, string>;

/** Sends an operation. An answer that is not JSON is told in the words of whoever gave it. */
export async function send(operation: object, headers: Headers): Promise<ExecutionResult> {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      Accept: "application/graphql-response+json, application/json;q=0.9",
      "Content-Type": "application/json",
      ...withToken(headers),
    },
    body: JSON.stringify(operation),
    cache: "no-store",
    credentials: "omit",
  });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${response.status} ${response.statusText}: ${text.slice(0, 1000)}`);
  }
}

/** Without a token there is no Authorization at all: "Bearer" alone would be refused. */
function withToken(headers: Headers): Headers {
  const entries = Object.entries(headers);
  return Object.fromEntries(entries.filter(([, value]) => value.trim() !== "" && value.trim() !== "Bearer"));
}
