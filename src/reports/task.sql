-- How many tasks are in each status and priority, and how many of those are overdue or unassigned?
-- Index: idx_tasks_list, alone. One row for each combination that occurs; the rest is addition.
-- Cast, so that what is prepared stays good where a migration gives a column another type: a mutation's reports are one
-- transaction, which is not run again.
SELECT {id}, t.status::text, t.priority::text, count(*),
       count(*) FILTER (WHERE t.status <> 'completed' AND t.due_date < now()),
       count(*) FILTER (WHERE t.assignee_id IS NULL)
FROM {tasks}
GROUP BY {id}, t.status, t.priority
