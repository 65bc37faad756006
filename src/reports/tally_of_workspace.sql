-- How many tasks of each workspace are in each status and priority, and how many of those are overdue or unassigned?
-- Indexes: idx_projects_created for the live projects, idx_tasks_list for their tasks.
SELECT p.workspace_id, t.status, t.priority, count(*),
       count(*) FILTER (WHERE t.status <> 'completed' AND t.due_date < now()),
       count(*) FILTER (WHERE t.assignee_id IS NULL)
FROM projects p
JOIN tasks t ON t.project_id = p.id AND t.deleted_at IS NULL
WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL
GROUP BY p.workspace_id, t.status, t.priority
