-- Results kept under business keys, backends that are polled, and named documents. All of it beside what is there: no table is written anew, and
-- whoever uses none of it pays for none of it.

-- The key itself, for people and lists.
ALTER TABLE request ADD COLUMN key text COLLATE "C";
CREATE INDEX request_key ON request (key, seq) WHERE key IS NOT NULL;

-- What shares one result: at most one operation computes it, and one stored result answers for it. Operations point here by keyed; a row that was
-- forgotten and made anew has another number, so that what began before stores nothing in it.
-- share, identity: digests. running, stored: numbers of operations. early: the running one was written without waiting for the disk.
-- fresh_until: null where the stored result answers no new submit and is found by key alone.
-- Each computation changes a row twice and no indexed column of it: with room for a second version in the page these are heap-only updates.
CREATE TABLE keyed (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  running bigint,
  stored bigint,
  stored_at bigint,
  fresh_until bigint,
  stale_until bigint,
  queue integer NOT NULL,
  early boolean NOT NULL,
  share text COLLATE "C" NOT NULL,
  identity text COLLATE "C" NOT NULL,
  UNIQUE (queue, share)
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX keyed_identity ON keyed (queue, identity);
ALTER TABLE operation ADD COLUMN keyed bigint;

-- What the first submit with the key was told: 0 new, 1 joined, 2 stored. The keys of the last two are not in the operation's own request, so
-- removing it finds them here.
ALTER TABLE idempotency ADD COLUMN told smallint NOT NULL DEFAULT 0;
CREATE INDEX idempotency_told ON idempotency (seq) WHERE told > 0;

-- Backends that said 202 and have to be asked: one row per operation while it runs. A row of a lease that has ended says nothing and goes when it is due.
CREATE TABLE poll (
  seq bigint PRIMARY KEY,
  at bigint NOT NULL,
  lease_no integer NOT NULL,
  url text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX poll_at ON poll (at);

CREATE TABLE document (
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  text text NOT NULL,
  saved_at bigint NOT NULL,
  PRIMARY KEY (kind, name)
);
