-- How many tasks has each assignee, and how many are with nobody?
-- Index: idx_tasks_list, alone.
SELECT {id}, t.assignee_id, count(*),
       count(*) FILTER (WHERE t.status <> 'completed'),
       count(*) FILTER (WHERE t.status <> 'completed' AND t.due_date < now())
FROM {tasks}
GROUP BY {id}, t.assignee_id
