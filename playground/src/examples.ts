// The documents that the page begins with, and that its menu opens again.
import { type Headers, send } from "./server";

export type Example = { title: string; query: string; variables: string };

/** What the examples need to know of the data: the viewer's first workspace, and the newest task in it. */
type Place = { slug: string; task: Task };
type Task = { id: string; updatedAt: string };

const PLACE = `{ workspaces(first: 1) { nodes { slug tasks(first: 1) { nodes { id updatedAt } } } } }`;

/** The examples, with variables that fit what the viewer can see; those of the demo where nothing can be seen. */
export async function examples(headers: Headers): Promise<Example[]> {
  const { slug, task } = await place(headers);
  return [
    {
      title: "Four levels",
      query: `# More rows do not take more statements:
# extensions.sql, at the answer's end, lists them.
query FourLevels {
  workspaces(first: 2) {
    nodes {
      name
      projects(first: 2) {
        nodes {
          name
          tasks(first: 3) {
            nodes {
              title
              status
              assignee { name }
              comments(first: 2) {
                nodes { body author { name } }
              }
            }
          }
        }
      }
    }
  }
}
`,
      variables: "",
    },
    {
      title: "A page",
      query: `# Open tasks, those due first at the top.
# For the next page, put endCursor into the variable "after".
query TaskPage($slug: String!, $first: Int!, $after: Cursor) {
  workspaceBySlug(slug: $slug) {
    name
    tasks(
      first: $first
      after: $after
      filter: { status: [TODO, IN_PROGRESS] }
      orderBy: { field: DUE_DATE, direction: ASC }
    ) {
      totalCount
      nodes { title status priority dueDate }
      pageInfo { hasNextPage endCursor }
    }
  }
}
`,
      variables: json({ slug, first: 5, after: null }),
    },
    {
      title: "Change a task",
      query: `# What the input leaves out stays as it is.
# Run it twice: the second time the task has changed since expectedUpdatedAt, so nothing
# is written, userErrors says CONFLICT, and the task comes back as it is now.
mutation UpdateTask($input: TaskUpdateInput!) {
  taskUpdate(input: $input) {
    task { id title status priority updatedAt }
    userErrors { code message field }
  }
}
`,
      variables: json({
        input: { id: task.id, status: "IN_PROGRESS", priority: "HIGH", expectedUpdatedAt: task.updatedAt },
      }),
    },
    {
      title: "A report",
      query: `# Counts over all tasks, from a replica:
# freshness tells which server, and how old its data is.
query Report($slug: String!) {
  workspaceBySlug(slug: $slug) {
    name
    report {
      freshness { source replica asOf lagMs fellBack }
      totals { total open completed overdue unassigned }
      byStatus { status count }
      byPriority { priority count open overdue }
    }
    projects(first: 4) {
      nodes {
        name
        report { totals { total open overdue } }
      }
    }
  }
}
`,
      variables: json({ slug }),
    },
  ];
}

async function place(headers: Headers): Promise<Place> {
  const answer = await send({ query: PLACE }, headers).catch(() => ({ data: null }));
  const data = answer.data as { workspaces?: { nodes: { slug: string; tasks: { nodes: Task[] } }[] } } | null;
  const workspace = data?.workspaces?.nodes[0];
  const task = workspace?.tasks.nodes[0] ?? { id: "the id of a task", updatedAt: "when you last saw it change" };
  return { slug: workspace?.slug ?? "aurora-maps", task };
}

function json(value: object): string {
  return JSON.stringify(value, null, 2);
}
