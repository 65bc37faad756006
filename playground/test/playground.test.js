// The playground in a real browser, served by the built binary. `bin/test-playground` builds both and runs this.
// With PLAYGROUND_PICTURES=DIRECTORY it also leaves pictures there, to be looked at.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "./server.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUIET = ["gpu", "quic", "background-networking", "component-update", "sync"].map((name) => `--disable-${name}`);
const MAX_BYTES = 1_800_000;

let server, profile, browser, page;
/** What must stay empty: requests to other hosts, messages on the console, violations of the policy. */
const wrongs = [];

before(async () => {
  server = await startServer();
  profile = await mkdtemp(join(tmpdir(), "trellis-chromium-"));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--no-first-run", ...QUIET],
    viewport: { width: 1280, height: 800 },
  });
  browser.on("request", (request) => {
    if (!request.url().startsWith(`${server.address}/`) && !request.url().startsWith("data:")) wrongs.push(request.url());
  });
  browser.on("console", (message) => {
    // Chromium itself says so of every answer with an error's status, as a wrong query has.
    const isRefusal = message.location().url.endsWith("/graphql") && /status of 40[01]/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isRefusal) wrongs.push(message.text());
  });
  browser.on("weberror", (failure) => wrongs.push(String(failure.error())));
  await browser.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective}`));
  });
  page = browser.pages()[0] ?? (await browser.newPage());
  await open();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  if (profile) await rm(profile, { recursive: true, force: true });
});

afterEach(() => assert.deepEqual(wrongs.splice(0), []));

async function open() {
  await page.goto(`${server.address}/`);
  await page.locator(".graphiql-query-editor .view-line").first().waitFor();
  await page.locator(".result-window .monaco-editor").waitFor();
}

/** An editor's whole text: the page shows only the lines that fit. */
function text(place) {
  return page.evaluate((place) => {
    const editors = globalThis.__MONACO.editor.getEditors();
    return editors.find((editor) => editor.getContainerDomNode().closest(place)).getValue();
  }, place);
}

/** Replaces an editor's text as a person does who pastes: typing would make the editor close the brackets. */
async function paste(place, value) {
  await page.locator(`${place} .monaco-editor`).click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.evaluate((text) => {
    const editor = globalThis.__MONACO.editor.getEditors().find((editor) => editor.hasTextFocus());
    editor.trigger("test", "paste", { text });
  }, value);
}

/** Runs the tab that is open, and gives its answer. */
async function run() {
  const answered = page.waitForResponse((response) => response.url().endsWith("/graphql"), { timeout: 5_000 });
  await page.locator(".graphiql-execute-button").click();
  await answered;
  let answer;
  const deadline = Date.now() + 5_000;
  do answer = await text(".result-window");
  while (answer === "" && Date.now() < deadline);
  return JSON.parse(answer);
}

async function picture(name) {
  if (process.env.PLAYGROUND_PICTURES) {
    await page.screenshot({ path: join(process.env.PLAYGROUND_PICTURES, `${name}.png`), fullPage: true });
  }
}

/** The bytes and the headers of an answer, as they are on the wire. */
function fetchRaw(path, headers = {}) {
  return new Promise((resolve, reject) => {
    get(`${server.address}${path}`, { headers }, async (response) => {
      const chunks = await response.toArray();
      resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) });
    }).on("error", reject);
  });
}

test("the page and its files have the right headers, and are small on the wire", async () => {
  const html = await fetchRaw("/");
  assert.equal(html.headers["cache-control"], "no-store");
  const policy = html.headers["content-security-policy"];
  assert.match(policy, /^default-src 'none'; script-src 'self';/);
  assert.doesNotMatch(policy, /script-src[^;]*unsafe|https?:|\*/);

  const script = /src="(\/assets\/index-[^"]+\.js)"/.exec(html.bytes.toString())[1];
  const packed = await fetchRaw(script, { "Accept-Encoding": "br, gzip" });
  assert.equal(packed.headers["content-encoding"], "gzip");
  assert.equal(packed.headers["cache-control"], "public, max-age=31536000, immutable");
  for (const refusal of [{}, { "Accept-Encoding": "gzip;q=0" }]) {
    const plain = await fetchRaw(script, refusal);
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.equal(plain.headers["content-type"], "text/javascript; charset=utf-8");
    assert.ok(plain.bytes.length > 2 * packed.bytes.length);
  }
  assert.match((await fetchRaw("/assets/licenses.txt")).bytes.toString(), /## graphiql - 5\.4/);
  assert.equal((await fetchRaw("/assets/index-0000.js")).status, 404);

  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => new URL(name).pathname));
  const assets = [...new Set(loaded.filter((path) => path.startsWith("/assets/")))];
  assert.ok(assets.length > 5, `it loaded ${assets}`);
  const sizes = assets.map(async (path) => (await fetchRaw(path, { "Accept-Encoding": "gzip" })).bytes.length);
  const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, html.bytes.length);
  assert.ok(total < MAX_BYTES, `${total} bytes`);
});

// After each test: no request to another host, no violation of the policy, not a word on the console.
test("it has its name, and links to the schema", async () => {
  assert.equal(await page.title(), "Trellis");
  assert.equal(await page.locator(".graphiql-logo h1").textContent(), "Trellis");
  assert.equal(await page.locator(".graphiql-logo a").getAttribute("href"), "/schema.graphql");
  await picture("light");
});

test("each example answers with data, and tells its statements", async () => {
  const titles = await page.locator(".graphiql-tab-button").allTextContents();
  assert.deepEqual(titles, ["FourLevels", "TaskPage", "UpdateTask", "Report"]);
  for (const [index, title] of titles.entries()) {
    await page.locator(".graphiql-tab-button").nth(index).click();
    const { data, errors, extensions } = await run();
    assert.equal(errors, undefined, title);
    assert.ok(extensions.sql.statements.length > 0, title);
    if (title === "FourLevels") assert.ok(data.workspaces.nodes[0].projects.nodes[0].tasks.nodes.length > 0);
    if (title === "TaskPage") assert.equal(data.workspaceBySlug.tasks.nodes.length, 5);
    if (title === "UpdateTask") {
      assert.equal(data.taskUpdate.task.status, "IN_PROGRESS");
      const again = (await run()).data.taskUpdate;
      assert.equal(again.userErrors[0].code, "CONFLICT");
      assert.deepEqual(again.task, data.taskUpdate.task);
    }
    if (title === "Report") assert.ok(data.workspaceBySlug.report.totals.total > 0);
  }
  await picture("report");
});

test("the menu opens an example in a new tab", async () => {
  await page.getByRole("button", { name: "Examples" }).click();
  await page.getByRole("menuitem", { name: "Change a task" }).click();
  assert.match(await text(".graphiql-query-editor"), /mutation UpdateTask/);
  assert.deepEqual((await run()).data.taskUpdate.userErrors, []);
});

test("a wrong query shows what is wrong with it", async () => {
  await page.locator(".graphiql-tab-add").click();
  await paste(".graphiql-query-editor", "{ viewer { nmae } }");
  await page.locator(".graphiql-query-editor .squiggly-error").first().waitFor();
  const { data, errors } = await run();
  assert.equal(data, undefined);
  assert.match(errors[0].message, /nmae/);
  assert.equal(errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
  assert.match(await page.locator(".result-window").innerText(), /nmae/);
  await picture("error");
});

test("the editor completes from the schema, the explorer and the documentation show it", async () => {
  await paste(".graphiql-query-editor", "{ worksp");
  await page.keyboard.press("Control+Space");
  await page.locator(".suggest-widget .monaco-list-row", { hasText: "workspaceBySlug" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Show GraphiQL Explorer" }).click();
  await page.locator(".graphiql-explorer-root", { hasText: "workspaceBySlug" }).waitFor();
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer-content a", { hasText: "Query" }).click();
  await page.getByText("The workspaces that you are a member of, oldest first.").waitFor();
  await page.getByRole("button", { name: "Hide Documentation Explorer" }).click();
});

test("variables are tidied", async () => {
  await paste(".graphiql-query-editor", "{ viewer { id } }");
  await paste(".graphiql-editor-tool > :not(.hidden)", '{"a":[1,  2]}');
  await page.getByRole("button", { name: "Prettify query" }).click();
  await page.locator(".graphiql-editor-tool", { hasText: '"a": [' }).waitFor();
});

test("headers belong to every tab, outlive a reload, and never reach localStorage", async () => {
  const headers = ".graphiql-editor-tool > :not(.hidden)";
  await page.getByRole("button", { name: "Headers" }).click();
  const given = JSON.parse(await text(headers));
  assert.match(given.Authorization, /^Bearer ey/);
  assert.equal(given["X-Debug"], "sql");

  await paste(headers, '{ "Authorization": "Bearer mine" }');
  await page.locator(".graphiql-tab-button").first().click();
  await page.waitForFunction(() => document.querySelector(".graphiql-editor-tool > :not(.hidden)").innerText.includes("mine"));
  assert.equal((await run()).errors[0].extensions.code, "UNAUTHENTICATED");
  // GraphiQL writes its tabs half a second after the last change.
  await page.waitForFunction(() => JSON.parse(localStorage.getItem("graphiql:tabState")).activeTabIndex === 0);
  const kept = await page.evaluate(() => JSON.stringify(localStorage));
  assert.match(kept, /UpdateTask/);
  assert.doesNotMatch(kept, /Bearer|eyJ/);

  await open();
  await page.getByRole("button", { name: "Headers" }).click();
  assert.equal(await text(headers), '{ "Authorization": "Bearer mine" }');
  await paste(headers, JSON.stringify(given));
  await page.locator(".graphiql-tab-button").first().click();
  assert.equal((await run()).errors, undefined);
});

test("it is usable in the dark, and in a narrow window", async () => {
  const background = () => page.evaluate(() => getComputedStyle(document.querySelector(".graphiql-container")).backgroundColor);
  const brightness = async () => Math.max(...(await background()).match(/\d+/g).slice(0, 3).map(Number));
  assert.ok((await brightness()) > 200);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.locator(".graphiql-query-editor .monaco-editor.vs-dark").waitFor();
  assert.ok((await brightness()) < 100);
  await picture("dark");

  await page.setViewportSize({ width: 400, height: 800 });
  await open();
  await run();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
  for (const place of [".graphiql-query-editor .monaco-editor", ".result-window .monaco-editor"]) {
    const { width, height } = await page.locator(place).boundingBox();
    assert.ok(width > 200 && height > 200, `${place}: ${width} x ${height}`);
  }
  await picture("narrow-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await picture("narrow");
});
