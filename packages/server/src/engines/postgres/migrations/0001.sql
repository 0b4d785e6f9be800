-- The first schema for PostgreSQL: the same tables as in the file, arranged for many writers.
--
-- Why it looks so:
-- * Payloads stand apart from the hot row, which is rewritten by each transition: a version of it is about 200 bytes instead of a kilobyte and more.
-- * Every index of `operation` but the key is partial over the stage, so that an operation has two index entries at a time: its key and that of its stage.
--   A transition changes the stage and cannot be a heap-only update; what changes within a stage (a lease that is kept, progress) touches no
--   indexed column and is one. That is why a kept lease does not move wake_at: the clock looks at lease_until once wake_at is due.
-- * Room of a tenth in each page lets these heap-only updates stay in their page. More room was not taken: inserts outnumber them by far.
-- * Bodies are stored as they are (EXTERNAL): compressing costs more processor than all the rest of a submit, and a piece of a large body can be read alone.
-- * autovacuum looks at the hot tables after a fixed number of dead rows and without pauses: the default of a fifth of the table would let
--   a million kept rows collect 200,000 dead ones before anybody looks.

CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);

-- One row. Leases end on a time line without the times in which no node was alive: last_ms is when one was, paused_ms how long none was in all.
CREATE TABLE time_line (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  last_ms bigint NOT NULL DEFAULT 0,
  paused_ms bigint NOT NULL DEFAULT 0,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

INSERT INTO time_line DEFAULT VALUES;

-- The processes that serve this store. seen_ms: last sign of life, on the time line of the leases.
CREATE TABLE node (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  seen_ms bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE queue (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  namespace text NOT NULL,
  service text NOT NULL,
  UNIQUE (namespace, service)
);

-- Counters ride in the commits, one row per queue and connection: with one row per queue every commit would wait for the sync of the one before.
CREATE TABLE counter (
  queue integer NOT NULL,
  slot integer NOT NULL,
  queued bigint NOT NULL DEFAULT 0,
  running bigint NOT NULL DEFAULT 0,
  succeeded bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, slot)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);

CREATE SEQUENCE operation_seq;

-- stage: 0 ready, 1 waiting for run_at, 2 running, 3 succeeded, 4 failed, 5 cancelled
-- wake_at: the next moment the clock has something to say: start-by, deadline, run_at or lease end while open, retention's end once done
-- lease_kind: 1 push, 2 pull, 3 later; lease_until is on the time line of the leases; node: which node gave the lease
CREATE TABLE operation (
  seq bigint PRIMARY KEY,
  rank bigint NOT NULL,
  wake_at bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  deadline_at bigint NOT NULL,
  retention_ms bigint NOT NULL,
  keep_until bigint,
  run_at bigint,
  start_by_at bigint,
  started_at bigint,
  attempt_at bigint,
  finished_at bigint,
  lease_until bigint,
  queue integer NOT NULL,
  version integer NOT NULL,
  attempt integer NOT NULL,
  lease_no integer NOT NULL,
  request_bytes integer NOT NULL,
  node integer,
  progress_seq integer,
  stage smallint NOT NULL,
  lease_kind smallint,
  worker text,
  error_code text,
  error_message text,
  progress text
) WITH (fillfactor = 90, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_threshold = 5000, autovacuum_analyze_scale_factor = 0.1);

CREATE INDEX operation_ready ON operation (queue, rank, seq) WHERE stage = 0;
CREATE INDEX operation_waiting ON operation (wake_at) WHERE stage < 2;
-- Running ones in two: what nodes carry is little, and of it is looked for what a dead one carried, however many others wait for workers and late answers.
CREATE INDEX operation_carried ON operation (wake_at) WHERE stage = 2 AND lease_kind = 1;
CREATE INDEX operation_held ON operation (wake_at) WHERE stage = 2 AND lease_kind > 1;
CREATE INDEX operation_ended ON operation (wake_at) WHERE stage > 2;
CREATE INDEX operation_trouble ON operation (queue, seq) WHERE stage > 3;

-- What came in: written once, never touched again. The idempotency key stands here too, so that removing an operation finds it without an index.
CREATE TABLE request (
  seq bigint PRIMARY KEY,
  nonce uuid NOT NULL,
  correlation text,
  labels text,
  head text NOT NULL,
  idempotency text,
  body bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE request ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX request_correlation ON request (correlation, seq) WHERE correlation IS NOT NULL;

-- What came out. hash: SHA-256 of the body, base64url.
CREATE TABLE result (
  seq bigint PRIMARY KEY,
  status integer NOT NULL,
  lease_no integer NOT NULL,
  headers text NOT NULL,
  hash text NOT NULL,
  body bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE result ALTER COLUMN body SET STORAGE EXTERNAL;

-- Attempts that did not end the operation, and progress: a row in the commit that caused it. kind: 0 attempt, 1 progress
CREATE TABLE happening (
  seq bigint NOT NULL,
  n integer NOT NULL,
  kind smallint NOT NULL,
  attempt integer NOT NULL,
  at bigint NOT NULL,
  started_at bigint,
  next_at bigint,
  backend_status integer,
  worker text,
  outcome text,
  detail text,
  progress text,
  PRIMARY KEY (seq, n)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- early: written without waiting for the disk. Whoever repeats such a submit and asks for more has to wait in its place.
CREATE TABLE idempotency (
  queue integer NOT NULL,
  key text COLLATE "C" NOT NULL,
  fingerprint text NOT NULL,
  seq bigint NOT NULL,
  expires_at bigint NOT NULL,
  early boolean NOT NULL,
  PRIMARY KEY (queue, key)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE label (
  name text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  PRIMARY KEY (name, value, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX label_seq ON label (seq);

-- The log: one counter of positions per namespace. A writer holds the counter's row until its commit, so positions become visible in order
-- and no reader ever passes one that is still being written. Each append takes a number for a new row before it finds the old one: hence bigint.
CREATE TABLE log (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  namespace text NOT NULL UNIQUE,
  last bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE event (
  log bigint NOT NULL,
  position bigint NOT NULL,
  appended_at bigint NOT NULL,
  topic text NOT NULL,
  head text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (log, position)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL;
