-- How many tasks were made and how many were completed in each interval of a calendar, also where there were none?
-- Indexes: idx_tasks_created and idx_tasks_completed, each for the range.
-- $2 the interval's unit, $3 the time zone, $4 the first instant, $5 the instant after the last.
WITH midnight AS (
  -- A midnight may come twice, and PostgreSQL takes the second one; what comes just before it comes once. A day may be left
  -- out, and two midnights are one instant.
  SELECT (local - interval '1 microsecond') AT TIME ZONE $3 + interval '1 microsecond' AS instant
  FROM generate_series(
    date_trunc($2, $4::timestamptz AT TIME ZONE $3) - ('1 ' || $2)::interval,
    $5::timestamptz AT TIME ZONE $3 + ('1 ' || $2)::interval,
    ('1 ' || $2)::interval) AS local
), bucket AS (
  SELECT row_number() OVER (ORDER BY start)::integer AS number, start, finish
  FROM (SELECT instant AS start, lead(instant) OVER (ORDER BY instant) AS finish FROM midnight) AS span
  WHERE start < finish AND finish > $4 AND start < $5
), edge AS (
  SELECT min(start) AS start, max(finish) AS finish, array_agg(start ORDER BY start) AS starts FROM bucket
), event AS (
  SELECT {id} AS id, width_bucket(t.created_at, (SELECT starts FROM edge)) AS number, 1 AS created, 0 AS completed
  FROM {tasks} AND t.created_at >= (SELECT start FROM edge) AND t.created_at < (SELECT finish FROM edge)
  UNION ALL
  SELECT {id} AS id, width_bucket(t.completed_at, (SELECT starts FROM edge)), 0, 1
  FROM {tasks} AND t.status = 'completed'
    AND t.completed_at >= (SELECT start FROM edge) AND t.completed_at < (SELECT finish FROM edge)
), counted AS (
  SELECT id, number, sum(created) AS created, sum(completed) AS completed FROM event GROUP BY id, number
)
SELECT k.id, b.start, coalesce(c.created, 0), coalesce(c.completed, 0)
FROM unnest($1::uuid[]) AS k (id)
CROSS JOIN bucket b
LEFT JOIN counted c ON c.id = k.id AND c.number = b.number
ORDER BY k.id, b.start
