-- How long did tasks take, from being made to being completed, of those completed in a range?
-- Index: idx_tasks_completed, alone. $2 the first instant and $3 the instant after the last, or null for no bound.
SELECT {id}, count(*),
       percentile_cont(ARRAY[0.5, 0.9, 0.95]) WITHIN GROUP (
         ORDER BY extract(epoch FROM t.completed_at - t.created_at)::float8),
       avg(extract(epoch FROM t.completed_at - t.created_at))::float8
FROM {tasks} AND t.status = 'completed'
  AND t.completed_at >= coalesce($2, '-infinity'::timestamptz) AND t.completed_at < coalesce($3, 'infinity'::timestamptz)
GROUP BY {id}
