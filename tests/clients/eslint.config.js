// What graphql-eslint asks of a schema that Relay and code generators can work with. Every exception has its reason
// beside it. It cannot stand in schema.graphql, which the server prints.
import graphql from "@graphql-eslint/eslint-plugin";

/** Where a finding is in the schema, as in `Mutation.taskDelete.input`. */
function place(node) {
  const names = [];
  for (let at = node; at; at = at.parent) if (at.kind?.endsWith("Definition")) names.unshift(at.name?.value);
  return names.join(".");
}

/** A rule that holds everywhere but in these places. */
function except(name, places) {
  const rule = graphql.rules[name];
  const create = (context) => {
    const report = (finding) => places.test(place(finding.node)) || context.report(finding);
    return rule.create(Object.create(context, { report: { value: report } }));
  };
  return { [name]: { ...rule, create } };
}

const rules = {
  ...graphql.rules,
  // The contract names this scalar, for a field to come. Ids are of type ID.
  ...except("no-unreachable-types", /^UUID$/),
  // What deletes a row needs to know which one, and nothing else about it: all of these take the same input.
  ...except("input-name", /^Mutation\.\w+(Delete|Remove|Restore)\.input$/),
  // A board is the first page of each column, in one call. The next pages are those of Project.tasks.
  ...except("relay-arguments", /^BoardColumn\.tasks$/),
  // The server is there when it answers, and nobody is refused what it says of itself.
  ...except("require-nullable-result-in-root", /^Query\.server$/),
};

export default [
  {
    files: ["**/*.graphql"],
    linterOptions: { noInlineConfig: true },
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema: "schema.graphql" } } },
    plugins: { "@graphql-eslint": { ...graphql, rules } },
    rules: {
      // Names, descriptions, deprecations, ids, nothing unreachable.
      ...graphql.configs["flat/schema-recommended"].rules,
      ...graphql.configs["flat/schema-relay"].rules,

      // Everything says what it is: types, fields, arguments, input fields, values of enums.
      "@graphql-eslint/require-description": [
        "error",
        {
          types: true,
          DirectiveDefinition: true,
          FieldDefinition: true,
          EnumValueDefinition: true,
          InputValueDefinition: true,
          // Arguments of @include and @skip, which the server prints as GraphQL has them.
          ignoredSelectors: ["[parent.kind=DirectiveDefinition]"],
        },
      ],
      // One sentence stands on one line; only what is longer is a block.
      "@graphql-eslint/description-style": "off",

      // A mutation has one argument, `input`, of a type that is named after it, and answers with an object.
      "@graphql-eslint/input-name": ["error", { checkInputType: true, caseSensitiveInputType: false }],
      "@graphql-eslint/no-scalar-result-type-on-mutation": "error",

      // One root field that fails must not take the others with it.
      "@graphql-eslint/require-nullable-result-in-root": "error",

      // Rows have an id. The rest is no row, and lives and dies with what holds it.
      "@graphql-eslint/strict-id-in-types": [
        "error",
        {
          exceptions: {
            types: [
              "PageInfo",
              "UserError",
              // The server is one, and so are its limits.
              "Server",
              "Limits",
              // A cost is computed from a document, and what is left of the caller's points is the caller's.
              "Cost",
              "RateLimit",
              // A column is its project's and has its status for a name.
              "BoardColumn",
              // Reports are computed, and so is all that is in them.
              "Report",
              "Freshness",
              "ReportTotals",
              "OverdueBucket",
              "ThroughputPoint",
              "DurationStats",
            ],
            // Pages of rows, answers to mutations, and counts in a report.
            suffixes: ["Connection", "Edge", "Payload", "Count"],
          },
        },
      ],

      // By default a list may only hold edges. `nodes` beside `edges`, and the rows of a report, do not.
      "@graphql-eslint/relay-edge-types": [
        "error",
        { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false },
      ],
    },
  },
];
