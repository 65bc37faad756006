// GraphQL over HTTP: all audits of the package graphql-http, against a running server. `bin/test-clients` runs them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { serverAudits } from "graphql-http";
import { type Server, startServer } from "./server.js";

/** All that the package has, those that a server MAY pass too. */
const AUDITS = 61;

let server: Server;

before(async () => {
  server = await startServer();
});

after(() => server?.stop());

test(`all ${AUDITS} audits are ok`, async () => {
  const audits = serverAudits({ url: `${server.address}/graphql`, fetchFn: fetch });
  const results = await Promise.all(audits.map(({ fn }) => fn()));
  const others = results.flatMap((result) =>
    result.status === "ok" ? [] : [`${result.status} ${result.id} ${result.name}: ${result.reason}`],
  );
  assert.deepEqual(others, []);
  assert.equal(results.length, AUDITS);
});
