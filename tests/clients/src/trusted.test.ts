// Trusted documents: the manifests that graphql-codegen and relay-compiler wrote, served by a server that answers nothing
// else. `bin/test-clients` writes them and runs this.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import * as documents from "./documents.js";
import { type Server, startServer } from "./server.js";

async function post({ address, token }: Server, body: object) {
  const response = await fetch(`${address}/graphql`, {
    method: "POST",
    headers: {
      accept: "application/graphql-response+json",
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

async function serving(manifest: string, work: (server: Server, ids: string[]) => Promise<void>) {
  const ids = Object.keys(JSON.parse(await readFile(manifest, "utf8")));
  const server = await startServer("--documents", manifest, "--trusted-documents", "enforce");
  try {
    await work(server, ids);
  } finally {
    await server.stop();
  }
}

test("graphql-codegen's documents are answered by the hashes that it gave them, and others are not", async () => {
  await serving("src/gql/persisted-documents.json", async (server, ids) => {
    const hashes = Object.values(documents).map((document) => (document as { __meta__?: { hash: string } }).__meta__?.hash);
    assert.ok(hashes.length >= 6);
    assert.deepEqual(ids.toSorted(), hashes.toSorted());
    const places = documents.Places as { __meta__?: { hash: string } };
    const answer = await post(server, { documentId: places.__meta__?.hash });
    assert.equal(answer.status, 200);
    assert.ok(answer.body.data.workspaces.nodes.length >= 1);
    const other = await post(server, { query: "{ viewer { name } }" });
    assert.equal(other.status, 400);
    assert.equal(other.body.errors[0].extensions.code, "DOCUMENT_NOT_TRUSTED");
  });
});

test("relay-compiler's documents are answered by the ids that it gave them", async () => {
  await serving("build/relay-documents.json", async (server, ids) => {
    assert.ok(ids.length >= 3, `${ids.length} documents`);
    for (const documentId of ids) {
      const { body } = await post(server, { documentId });
      const codes = (body.errors ?? []).map((error: { extensions: { code: string } }) => error.extensions.code);
      // Those that have required variables are told so.
      assert.ok(codes.every((code: string) => code === "BAD_USER_INPUT"), JSON.stringify(body));
    }
  });
});
