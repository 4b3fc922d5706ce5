-- A PostgreSQL server for Dagster's state with 100,000 deals. Once, by a superuser:
--   psql "$SEGPIPE_POSTGRES_URL" -f deploy/tuning.sql
-- and then a restart of the server, for max_connections.

-- A run keeps one to three connections, other processes five at most: enough for 64 runs at once.
alter system set max_connections = 300;

-- A commit does not wait for the disk. The deals' own store is the truth: what a crash of the
-- server loses here (less than a second) is told again by the next run of the deal.
alter system set synchronous_commit = off;

select pg_reload_conf();

-- Tables that grow, or are written over and over, are cleaned and counted after 2 % of change, not
-- 20 %: the planner needs to know how many rows there are.
alter table event_logs set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
alter table asset_keys set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
alter table bulk_actions set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
