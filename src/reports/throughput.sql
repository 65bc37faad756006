-- How many tasks were made and how many were completed in each interval of a calendar, also where there were none?
-- Indexes: idx_tasks_created and idx_tasks_completed, each for the range.
-- $2 the interval's unit, $3 the time zone, $4 the first instant, $5 the instant after the last.
WITH bucket AS (
  SELECT local, local AT TIME ZONE $3 AS start, (local + ('1 ' || $2)::interval) AT TIME ZONE $3 AS finish
  FROM generate_series(
    date_trunc($2, $4::timestamptz AT TIME ZONE $3),
    ($5::timestamptz - interval '1 microsecond') AT TIME ZONE $3,
    ('1 ' || $2)::interval) AS local
), edge AS (
  SELECT min(start) AS start, max(finish) AS finish FROM bucket
), event AS (
  SELECT {id} AS id, date_trunc($2, t.created_at AT TIME ZONE $3) AS local, 1 AS created, 0 AS completed
  FROM {tasks} AND t.created_at >= (SELECT start FROM edge) AND t.created_at < (SELECT finish FROM edge)
  UNION ALL
  SELECT {id} AS id, date_trunc($2, t.completed_at AT TIME ZONE $3), 0, 1
  FROM {tasks} AND t.status = 'completed'
    AND t.completed_at >= (SELECT start FROM edge) AND t.completed_at < (SELECT finish FROM edge)
), counted AS (
  SELECT id, local, sum(created) AS created, sum(completed) AS completed FROM event GROUP BY id, local
)
SELECT k.id, b.start, coalesce(c.created, 0), coalesce(c.completed, 0)
FROM unnest($1::uuid[]) AS k (id)
CROSS JOIN bucket b
LEFT JOIN counted c ON c.id = k.id AND c.local = b.local
ORDER BY k.id, b.start
