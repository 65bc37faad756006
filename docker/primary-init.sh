#!/usr/bin/env bash
# Runs once, on the primary's new and empty cluster: the two roles and who may replicate.
set -euo pipefail

: "${PGDATA:?}" "${POSTGRES_DB:?}" "${REPLICATION_PASSWORD:?}" "${DATABASE_PASSWORD:?}"

# \getenv keeps the passwords out of the process list. Trellis owns its database and is no
# superuser; pg_monitor lets it see how far each replica is.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set="database=$POSTGRES_DB" \
  --username="${POSTGRES_USER:-postgres}" --dbname="$POSTGRES_DB" <<'SQL'
\getenv replication_password REPLICATION_PASSWORD
\getenv trellis_password DATABASE_PASSWORD
SET password_encryption = 'scram-sha-256';
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication_password';
CREATE ROLE trellis LOGIN PASSWORD :'trellis_password' IN ROLE pg_monitor;
ALTER DATABASE :"database" OWNER TO trellis;
REVOKE CONNECT, TEMPORARY ON DATABASE :"database" FROM PUBLIC;
SQL

# "samenet" is every network this container is on; "all" in pg_hba.conf never covers replication.
echo 'host replication replication samenet scram-sha-256' >> "$PGDATA/pg_hba.conf"
