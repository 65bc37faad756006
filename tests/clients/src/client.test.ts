// A frontend's way through Trellis: typed documents, urql as it comes, and a server in default mode with its demo.
// `bin/test-clients` makes the types, compiles this and runs it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { type AnyVariables, cacheExchange, Client, fetchExchange, type TypedDocumentNode } from "@urql/core";
import { CreateTask, Places, TaskById, TaskPage, UpdateTask, WorkspaceReport } from "./documents.js";
import type { TaskCreateInput, TaskOrder, TaskUpdateInput } from "./gql/graphql.js";
import { type Server, startServer } from "./server.js";

const PAGE = 7;
const NEWEST_FIRST: TaskOrder = { field: "CREATED_AT", direction: "DESC" };
const NO_ARGUMENTS = { first: null, after: null, last: null, before: null };

let server: Server;
let client: Client;
let headers: Record<string, string>;
let workspace: string;
let project: string;

before(async () => {
  server = await startServer();
  headers = { authorization: `Bearer ${server.token}` };
  client = new Client({
    url: `${server.address}/graphql`,
    exchanges: [cacheExchange, fetchExchange],
    // Short queries go by GET, long ones and mutations by POST.
    fetchOptions: () => ({ headers }),
  });
  const { workspaces } = await ask(Places, {});
  const place = workspaces?.nodes[0];
  assert.ok(place?.projects.nodes[0], "the demo has a workspace with a project");
  workspace = place.id;
  project = place.projects.nodes[0].id;
});

after(() => server?.stop());

/** The answer's data, from the server and not from urql's cache. It must have come without an error. */
async function ask<Data, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
) {
  const { data, error } = await client.query(document, variables, { requestPolicy: "network-only" });
  assert.equal(error?.message, undefined);
  assert.ok(data);
  return data;
}

async function create(input: Omit<TaskCreateInput, "projectId">) {
  const { data, error } = await client.mutation(CreateTask, { input: { projectId: project, ...input } });
  assert.equal(error?.message, undefined);
  assert.ok(data?.taskCreate);
  return data.taskCreate;
}

async function update(input: TaskUpdateInput) {
  const { data, error } = await client.mutation(UpdateTask, { input });
  assert.equal(error?.message, undefined);
  assert.ok(data?.taskUpdate);
  return data.taskUpdate;
}

const count = (rows: { count: number }[]) => rows.reduce((total, row) => total + row.count, 0);

type Position = { first: number; after: string | null } | { last: number; before: string | null };

async function page(order: TaskOrder, position: Position) {
  const { workspace: found } = await ask(TaskPage, { workspace, order, ...NO_ARGUMENTS, ...position });
  assert.ok(found);
  return found.tasks;
}

test("the server serves the schema that the types are from", async () => {
  const served = await fetch(`${server.address}/schema.graphql`);
  assert.equal(await served.text(), await readFile(new URL("../../../../schema.graphql", import.meta.url), "utf8"));
});

test("the types know what the schema does not have", () => {
  // @ts-expect-error: no such status. Without it, tsc would accept anything, and nothing here would be held by types.
  const input: TaskUpdateInput = { id: workspace, status: "BLOCKED" };
  assert.ok(input);
});

for (const order of [NEWEST_FIRST, { field: "DUE_DATE", direction: "ASC" } satisfies TaskOrder]) {
  test(`a list by ${order.field} has the same rows forward and backward`, async () => {
    const forward: string[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const { edges, pageInfo } = await page(order, { first: PAGE, after });
      assert.equal(pageInfo.hasPreviousPage, forward.length > 0);
      assert.equal(pageInfo.startCursor, edges.at(0)?.cursor);
      assert.equal(pageInfo.endCursor, edges.at(-1)?.cursor);
      forward.push(...edges.map(({ node }) => node.id));
      after = pageInfo.endCursor ?? null;
      more = pageInfo.hasNextPage;
    }

    const backward: string[] = [];
    for (let before: string | null = null, more = true; more; ) {
      const { edges, pageInfo } = await page(order, { last: PAGE, before });
      assert.equal(pageInfo.hasNextPage, backward.length > 0);
      backward.unshift(...edges.map(({ node }) => node.id));
      before = pageInfo.startCursor ?? null;
      more = pageInfo.hasPreviousPage;
    }

    assert.ok(forward.length > 3 * PAGE, `saw ${forward.length} tasks`);
    assert.equal(new Set(forward).size, forward.length);
    assert.deepEqual(backward, forward);
    assert.equal((await page(order, { first: 1, after: null })).totalCount, forward.length);
  });
}

test("a page that is too large is an error with a code, and not a shorter page", async () => {
  const { data, error } = await client.query(TaskPage, { workspace, ...NO_ARGUMENTS, first: 101 });
  assert.equal(error?.graphQLErrors[0]?.extensions["code"], "BAD_USER_INPUT");
  assert.equal(data?.workspace ?? null, null);
});

test("a task is created with the defaults, and read back", async () => {
  const { task, userErrors } = await create({ title: "Written by a client" });
  assert.deepEqual(userErrors, []);
  assert.ok(task);
  assert.deepEqual([task.title, task.status, task.priority], ["Written by a client", "TODO", "MEDIUM"]);

  const { task: read } = await ask(TaskById, { id: task.id });
  assert.deepEqual([read?.title, read?.updatedAt, read?.project.id], [task.title, task.updatedAt, project]);
});

test("a fault of the input is told with a code and its place, and writes nothing", async () => {
  const { task, userErrors, consistencyToken } = await create({ title: "" });
  assert.deepEqual(userErrors.map(({ code, field }) => [code, field]), [["INVALID", ["input", "title"]]]);
  assert.deepEqual([task, consistencyToken], [null, null]);
});

test("a conflict brings the row as it is now, with which the retry succeeds", async () => {
  const { task: seen } = await create({ title: "Seen by two" });
  assert.ok(seen);
  const { id, updatedAt } = seen;
  const { task: theirs } = await update({ id, title: "Changed by the other", expectedUpdatedAt: updatedAt });
  assert.ok(theirs);

  const mine = { id, status: "COMPLETED" } satisfies TaskUpdateInput;
  const { task: current, userErrors } = await update({ ...mine, expectedUpdatedAt: updatedAt });
  assert.deepEqual(userErrors.map(({ code }) => code), ["CONFLICT"]);
  assert.deepEqual(current, theirs);
  assert.ok(current);

  const retried = await update({ ...mine, expectedUpdatedAt: current.updatedAt });
  assert.deepEqual(retried.userErrors, []);
  assert.equal(retried.task?.title, "Changed by the other");
  assert.equal(retried.task?.status, "COMPLETED");
  assert.ok(retried.task?.completedAt);
});

test("a mutation that is sent again with its key gives the first answer and writes once", async () => {
  const input = { title: "Sent twice", idempotencyKey: crypto.randomUUID() };
  const total = async () => (await page(NEWEST_FIRST, { first: 1, after: null })).totalCount ?? 0;
  const tasks = await total();

  const first = await create(input);
  const again = await create(input);
  assert.deepEqual(first.userErrors, []);
  assert.ok(first.task);
  // The token may be another one: it proves the write as well if it is of a later moment.
  assert.deepEqual([again.task, again.userErrors], [first.task, []]);
  assert.ok(again.consistencyToken);
  assert.equal(await total(), tasks + 1);

  const { task, userErrors } = await create({ ...input, title: "Something else" });
  assert.deepEqual(userErrors.map(({ code }) => code), ["IDEMPOTENCY_MISMATCH"]);
  assert.equal(task, null);
});

test("a report counts what the lists show, and a token makes it count the last write", async () => {
  const { consistencyToken, userErrors } = await create({ title: "To be counted" });
  assert.deepEqual(userErrors, []);
  assert.ok(consistencyToken);
  headers["x-consistency-token"] = consistencyToken;

  const report = (await ask(WorkspaceReport, { workspace })).workspace?.report;
  const { totalCount } = await page(NEWEST_FIRST, { first: 1, after: null });
  assert.ok(report);
  const { totals, freshness } = report;
  assert.equal(totals.total, totalCount);
  assert.equal(totals.open + totals.completed, totals.total);
  for (const rows of [report.byStatus, report.byPriority, report.byAssignee, report.byProject]) {
    assert.equal(count(rows), totals.total);
  }
  assert.equal(count(report.overdue), totals.overdue);
  assert.equal(report.cycleTime.samples, totals.completed);
  assert.equal(report.byAssignee.at(-1)?.assignee, null, "the last row is for unassigned tasks");
  assert.equal(report.throughput.length, 12);
  // The task of above was made in this month.
  assert.ok((report.throughput.at(-1)?.created ?? 0) > 0);
  assert.ok(Date.parse(freshness.asOf) <= Date.now());
  assert.equal(freshness.source === "REPLICA", typeof freshness.replica === "string");
});
