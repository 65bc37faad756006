// The page: GraphiQL with this server's schema, this page's headers, and examples.
import "./workers";
import "@graphiql/react/style.css";
import "graphiql/graphiql.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { ToolbarMenu, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import type { FetcherParams } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { buildSchema, getOperationAST, parse } from "graphql";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type Example, examples } from "./examples";
import { headers, headersText, storage, typed } from "./headers";
import { type Headers, send } from "./server";

const PLUGINS = [HISTORY_PLUGIN, explorerPlugin()];

/** GraphiQL keeps headers apart for each tab. Here they belong to the page: one token is for all tabs. */
function SharedHeaders() {
  const editor = useGraphiQL((state) => state.headerEditor);
  useEffect(() => {
    const subscription = editor?.onDidChangeModelContent((event) => {
      if (!event.isFlush) {
        typed(editor.getValue());
      } else if (editor.getValue() !== headersText()) {
        // A tab or an old query brought its own. Not within the event: GraphiQL is still changing the tab.
        queueMicrotask(() => editor.setValue(headersText()));
      }
    });
    return () => subscription?.dispose();
  }, [editor]);
  return null;
}

/** The editors follow the system's scheme while the page is open; GraphiQL sets theirs only once. */
function SystemScheme() {
  const { setTheme } = useGraphiQLActions();
  const theme = useGraphiQL((state) => state.theme);
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setTheme(theme);
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, [setTheme, theme]);
  return null;
}

/** Opens examples in new tabs, with variables that fit the data as it is now. */
function ExamplesMenu() {
  const { addTab } = useGraphiQLActions();
  const { query, variables } = useGraphiQL((state) => ({ query: state.queryEditor, variables: state.variableEditor }));
  const [shown, setShown] = useState<Example[]>([]);
  const open = (example: Example) => {
    addTab();
    query?.setValue(example.query);
    variables?.setValue(example.variables);
  };
  const refresh = async (isOpen: boolean) => {
    if (isOpen) setShown(await examples(headers()));
  };
  return (
    <ToolbarMenu onOpenChange={refresh} button={<button type="button">Examples</button>}>
      {shown.map((example) => (
        <ToolbarMenu.Item key={example.title} onSelect={() => open(example)}>
          {example.title}
        </ToolbarMenu.Item>
      ))}
    </ToolbarMenu>
  );
}

/** For a moment after a change of tabs GraphiQL has the old document's operation name for the new document. */
function withOwnName(operation: FetcherParams): FetcherParams {
  try {
    const isOwn = getOperationAST(parse(operation.query), operation.operationName) !== null;
    return isOwn ? operation : { ...operation, operationName: undefined };
  } catch {
    // Not GraphQL: the server says where.
    return operation;
  }
}

const root = document.getElementById("root")!;

async function start() {
  // The schema's text rather than an introspection: it is there without a token, and its size is known.
  const [schema, tabs] = await Promise.all([
    fetch("/schema.graphql").then((response) => response.text()),
    examples(headers()),
  ]);
  const defaultTabs = tabs.map(({ query, variables }) => ({ query, variables, headers: null }));
  // GraphiQL 5.4 does not put the first tab's variables into the editor on a first visit.
  const initialVariables = localStorage.getItem("graphiql:tabState") === null ? defaultTabs[0]?.variables : undefined;
  createRoot(root).render(
    <GraphiQL
      fetcher={(operation, options) => send(withOwnName(operation), (options?.headers ?? {}) as Headers)}
      schema={buildSchema(schema)}
      plugins={PLUGINS}
      storage={storage}
      defaultTabs={defaultTabs}
      defaultHeaders={headersText()}
      initialVariables={initialVariables}
      defaultEditorToolsVisibility="variables"
      shouldPersistHeaders={false}
    >
      <GraphiQL.Logo>
        <nav>
          <ExamplesMenu />
          <a href="/schema.graphql">Schema</a>
        </nav>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M6 3v18M12 3v18M18 3v18M3 8h18M3 16h18" />
        </svg>
        <h1>Trellis</h1>
      </GraphiQL.Logo>
      <SharedHeaders />
      <SystemScheme />
    </GraphiQL>,
  );
}

start().catch((error: unknown) => {
  root.textContent = `The page could not start: ${error}. Is the server still running?`;
});
