// Holds schema.graphql to what clients were promised. Against contract.graphql it may only add. Against the schema of
// the commit before it may break something, but then CHANGELOG.md says so.
//
// This is `graphql-inspector diff`, called as a library. The command shortens its list, and loses breaking changes by
// that: an argument that is removed goes unreported where its field was given a description at the same time.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ChangeType, CriticalityLevel, DiffRule, diff } from "@graphql-inspector/core";
import { buildSchema } from "graphql";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** To the inspector these are only dangerous. But who leaves the argument out gets another answer than before. */
const NEW_DEFAULTS = [ChangeType.FieldArgumentDefaultChanged, ChangeType.InputFieldDefaultValueChanged];

const read = (path) => readFileSync(`${ROOT}/${path}`, "utf8");

function git(...parameters) {
  try {
    return execFileSync("git", parameters, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}

/** The paths of what a client may miss, as in `Task.title`, each with a sentence about it. */
async function breaks(oldText, newText) {
  // A type that no field leads to was promised to nobody.
  const changes = await diff(buildSchema(oldText), buildSchema(newText), [DiffRule.safeUnreachable]);
  return changes
    .filter(({ criticality, type }) => criticality.level === CriticalityLevel.Breaking || NEW_DEFAULTS.includes(type))
    .map(({ path = "schema", message }) => ({ path, message }));
}

/** Where this branch left the main one; else the last commit, or the one before it where that has this very schema. */
function revisionBefore(schema) {
  if (process.env.SCHEMA_BASE) return process.env.SCHEMA_BASE;
  const head = git("rev-parse", "HEAD")?.trim();
  const fork = git("merge-base", "HEAD", "origin/HEAD")?.trim();
  if (fork && fork !== head) return fork;
  return git("show", "HEAD:schema.graphql") === schema ? "HEAD~1" : "HEAD";
}

/** The lines of the changelog about what is not released yet and takes something away. */
function announcements() {
  const unreleased = read("CHANGELOG.md").split(/^## /m).find((section) => section.startsWith("[Unreleased]")) ?? "";
  return unreleased.split(/^### /m).filter((section) => /^(Changed|Removed)\n/.test(section)).join("");
}

/** Tells what breaks, and fails where that was not announced. */
function report(title, found, announced, advice) {
  const missing = found.filter(({ path }) => !announced.includes(`\`${path}\``));
  console.log(`${title}: ${found.length === 0 ? "nothing breaks" : ""}`.trim());
  for (const finding of found) {
    console.log(`  ${finding.path}: ${finding.message}${missing.includes(finding) ? "" : ", as CHANGELOG.md says"}`);
  }
  if (missing.length > 0) {
    console.error(advice);
    process.exitCode = 1;
  }
}

const schema = read("schema.graphql");
report(
  "from tests/clients/contract.graphql to schema.graphql",
  await breaks(read("tests/clients/contract.graphql"), schema),
  "",
  "The schema must keep what the contract promises. Put it back.",
);

const revision = revisionBefore(schema);
const before = git("show", `${revision}:schema.graphql`);
if (before !== undefined) {
  report(
    `from ${revision}:schema.graphql to schema.graphql`,
    await breaks(before, schema),
    announcements(),
    "Clients break by this. Deprecate instead of removing; or, where it must be, name each of these in\n" +
      "CHANGELOG.md, below `## [Unreleased]` and `### Changed` or `### Removed`, written as here and between backticks.",
  );
} else if (process.env.SCHEMA_BASE) {
  throw new Error(`there is no schema.graphql in ${revision}`);
} else {
  // A shallow clone, an archive, or the first commit.
  console.log(`from the commit before to schema.graphql: not compared, Git has no schema.graphql of ${revision}`);
}
