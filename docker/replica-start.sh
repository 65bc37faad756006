#!/usr/bin/env bash
# Starts the replica: copies the primary into an empty data directory once, then becomes postgres.
# Further arguments go to postgres.
set -euo pipefail

: "${PGDATA:?}" "${PRIMARY_HOST:?}" "${REPLICATION_PASSWORD:?}"
slot=${REPLICATION_SLOT:-replica}

# Exported, not passed: an argument would show in the process list.
export PGPASSWORD=$REPLICATION_PASSWORD
primary="host=$PRIMARY_HOST port=${PRIMARY_PORT:-5432} user=replication application_name=$slot"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # The copy gets its name when it is whole, so an interrupted one is never started.
  copy="$PGDATA.copying"
  rm -rf "$copy"
  mkdir -p "$(dirname "$PGDATA")"

  # A slot of that name belongs to a copy that was interrupted or lost. It is made anew rather than
  # reused, since it may be past max_slot_wal_keep_size; one in use is refused by the server.
  found=$(psql --no-psqlrc --tuples-only --no-align --dbname="$primary replication=true" \
    --command="READ_REPLICATION_SLOT $slot")
  if [ "${found%%|*}" != "" ]; then
    psql --no-psqlrc --quiet --dbname="$primary replication=true" --command="DROP_REPLICATION_SLOT $slot"
  fi

  echo "copying the primary at $PRIMARY_HOST"
  pg_basebackup --dbname="$primary" --pgdata="$copy" --write-recovery-conf \
    --create-slot --slot="$slot" --wal-method=stream --checkpoint=fast
  chmod 0700 "$copy"
  # An image may have made the directory, empty; anything else in it makes rmdir fail, rightly.
  [ ! -d "$PGDATA" ] || rmdir "$PGDATA"
  mv "$copy" "$PGDATA"
fi

unset PGPASSWORD REPLICATION_PASSWORD
exec postgres "$@"
