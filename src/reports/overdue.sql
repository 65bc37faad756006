-- How late are the tasks that are late? A day that has begun counts.
-- Index: idx_tasks_active.
SELECT {id},
       count(*) FILTER (WHERE t.due_date >= now() - interval '3 days'),
       count(*) FILTER (WHERE t.due_date < now() - interval '3 days' AND t.due_date >= now() - interval '7 days'),
       count(*) FILTER (WHERE t.due_date < now() - interval '7 days' AND t.due_date >= now() - interval '14 days'),
       count(*) FILTER (WHERE t.due_date < now() - interval '14 days' AND t.due_date >= now() - interval '30 days'),
       count(*) FILTER (WHERE t.due_date < now() - interval '30 days')
FROM {tasks} AND t.status <> 'completed' AND t.due_date < now()
GROUP BY {id}
