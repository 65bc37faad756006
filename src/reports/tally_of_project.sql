-- How many tasks of each project are in each status and priority, and how many of those are overdue or unassigned?
-- Index: idx_tasks_list, alone. One row for each combination that occurs; the rest is addition.
SELECT t.project_id, t.status, t.priority, count(*),
       count(*) FILTER (WHERE t.status <> 'completed' AND t.due_date < now()),
       count(*) FILTER (WHERE t.assignee_id IS NULL)
FROM tasks t
WHERE t.project_id = ANY($1) AND t.deleted_at IS NULL
GROUP BY t.project_id, t.status, t.priority
