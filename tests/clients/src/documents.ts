// The documents of a small task list. graphql-codegen reads them here, checks them against schema.graphql, and gives
// each the types of its variables and its answer.
import { graphql } from "./gql/index.js";

export const Places = graphql(`
  query Places {
    workspaces {
      nodes {
        id
        name
        projects(first: 1) {
          nodes {
            id
            name
          }
        }
      }
    }
  }
`);

/** A client that pages both ways names all four arguments, and sends null for those of the other way. */
export const TaskPage = graphql(`
  query TaskPage($workspace: ID!, $order: TaskOrder, $first: Int, $after: Cursor, $last: Int, $before: Cursor) {
    workspace(id: $workspace) {
      tasks(orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
        totalCount
        edges {
          cursor
          node {
            id
            title
            dueDate
          }
        }
        pageInfo {
          hasNextPage
          hasPreviousPage
          startCursor
          endCursor
        }
      }
    }
  }
`);

export const TaskById = graphql(`
  query TaskById($id: ID!) {
    task(id: $id) {
      id
      title
      status
      updatedAt
      project {
        id
      }
    }
  }
`);

export const CreateTask = graphql(`
  mutation CreateTask($input: TaskCreateInput!) {
    taskCreate(input: $input) {
      task {
        id
        title
        status
        priority
        updatedAt
      }
      userErrors {
        code
        message
        field
      }
      consistencyToken
    }
  }
`);

export const UpdateTask = graphql(`
  mutation UpdateTask($input: TaskUpdateInput!) {
    taskUpdate(input: $input) {
      task {
        id
        title
        status
        completedAt
        updatedAt
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`);

export const WorkspaceReport = graphql(`
  query WorkspaceReport($workspace: ID!) {
    workspace(id: $workspace) {
      report {
        freshness {
          source
          replica
          asOf
          lagMs
        }
        totals {
          total
          open
          completed
          overdue
          unassigned
        }
        byStatus {
          status
          count
        }
        byPriority {
          priority
          count
        }
        byAssignee(first: 100) {
          assignee {
            name
          }
          count
        }
        byProject(first: 100) {
          project {
            name
          }
          count
        }
        overdue {
          minDays
          maxDays
          count
        }
        throughput(interval: MONTH, timeZone: "Europe/Berlin") {
          start
          created
          completed
        }
        cycleTime {
          samples
          p50
        }
      }
    }
  }
`);
