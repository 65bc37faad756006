-- How many tasks has each live project of each workspace, also where it has none?
-- Indexes: idx_projects_created for the projects, idx_tasks_list for their tasks.
SELECT p.workspace_id, p.id, count(t.id),
       count(t.id) FILTER (WHERE t.status <> 'completed'),
       count(t.id) FILTER (WHERE t.status <> 'completed' AND t.due_date < now())
FROM projects p
LEFT JOIN tasks t ON t.project_id = p.id AND t.deleted_at IS NULL
WHERE p.workspace_id = ANY($1) AND p.deleted_at IS NULL
GROUP BY p.workspace_id, p.id
