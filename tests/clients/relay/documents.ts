// What a Relay application asks of Trellis. relay-compiler reads it against schema.graphql: it refuses a schema whose
// nodes, connections and edges are not what Relay builds on. Nothing here is ever run.
declare function graphql(document: TemplateStringsArray): unknown;

/** A row, wherever it is shown. */
export const task = graphql`
  fragment documents_task on Task {
    title
    status
    dueDate
    updatedAt
    assignee {
      name
    }
  }
`;

/** A list that loads more at both ends. A cursor has a type of its own, which Relay takes for `after` and `before`. */
export const tasks = graphql`
  fragment documents_tasks on Project
  @refetchable(queryName: "documentsTasksQuery")
  @argumentDefinitions(
    first: { type: "Int", defaultValue: 20 }
    after: { type: "Cursor" }
    last: { type: "Int" }
    before: { type: "Cursor" }
    filter: { type: "TaskFilter" }
    orderBy: { type: "TaskOrder" }
  ) {
    tasks(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy)
      @connection(key: "documents_tasks", filters: ["filter", "orderBy"]) {
      edges {
        node {
          ...documents_task
        }
      }
    }
  }
`;

/** A list inside the rows of a list, with a connection of its own for each row. */
export const comments = graphql`
  fragment documents_comments on Task
  @refetchable(queryName: "documentsCommentsQuery")
  @argumentDefinitions(last: { type: "Int", defaultValue: 5 }, before: { type: "Cursor" }) {
    comments(last: $last, before: $before) @connection(key: "documents_comments") {
      edges {
        node {
          body
          author {
            name
          }
        }
      }
    }
  }
`;

/** Entry by id alone, of whatever type: Relay refetches through `node`. */
export const project = graphql`
  query documentsProjectQuery($id: ID!, $orderBy: TaskOrder) {
    node(id: $id) {
      ...documents_tasks @arguments(orderBy: $orderBy) @alias
      ...documents_task @alias
      ...documents_comments @alias
    }
  }
`;

/** The new row goes into the lists that are shown. */
export const create = graphql`
  mutation documentsTaskCreateMutation($input: TaskCreateInput!, $connections: [ID!]!) {
    taskCreate(input: $input) {
      task @prependNode(connections: $connections, edgeTypeName: "TaskEdge") {
        ...documents_task
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;

/** On CONFLICT the answer holds the row as it is now. It has an id, so the store shows it without another request. */
export const update = graphql`
  mutation documentsTaskUpdateMutation($input: TaskUpdateInput!) {
    taskUpdate(input: $input) {
      task {
        ...documents_task
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;

/** The row goes out of the lists, but stays in the store, to be restored. */
export const remove = graphql`
  mutation documentsTaskDeleteMutation($input: DeleteInput!, $connections: [ID!]!) {
    taskDelete(input: $input) {
      task {
        id @deleteEdge(connections: $connections)
        deletedAt
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;
