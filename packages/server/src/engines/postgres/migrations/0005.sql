-- Operations that run one after another. Beside what is there: an operation without an ordering key pays for none of it.

-- Bits of the ordering key, null without one. Two keys with the same bits wait for each other, and nothing else comes of it.
ALTER TABLE operation ADD COLUMN lane bigint;

-- The open operations of each lane. Who adds one or ends one holds the lane's lock from before its number is taken until the commit: so numbers are in the
-- order of the commits, and whoever ends the first one sees all that wait behind it. Only the first may be leased; the others wait without a time.
-- run_at: when its client wants it to start at the earliest.
CREATE TABLE ordered (
  lane bigint NOT NULL,
  seq bigint NOT NULL,
  run_at bigint NOT NULL,
  PRIMARY KEY (lane, seq)
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
