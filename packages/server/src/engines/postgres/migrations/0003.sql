-- Who is to be told of an operation, and every time that somebody is. Beside what is there: an operation of which nobody is told costs nothing more.

-- How many are told of its end, and whether one of them wants its progress too. Who ends it compares the number with what it has found in `callback`:
-- the row's lock shows the number as it is, its statement the callbacks as they were when it began.
ALTER TABLE operation ADD COLUMN callbacks smallint;
ALTER TABLE operation ADD COLUMN reports boolean;

CREATE TABLE callback (
  seq bigint NOT NULL,
  n integer NOT NULL,
  progress boolean NOT NULL,
  thin boolean NOT NULL,
  url text NOT NULL,
  outlet text COLLATE "C" NOT NULL,
  correlation text,
  base text NOT NULL,
  PRIMARY KEY (seq, n)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Places that something is sent to; a row only while something is, and a little longer. Whoever changes a delivery that is open holds the row of its
-- outlet: in_flight and due_at are in the same commit, and of two nodes only one gives out what there is.
-- due_at: when the next one may be sent if there is room; null where none waits, and at the limit of what may be under way at once.
-- full_at: at which limit that was; null where there is room. With a larger limit there is room again.
-- rev: moves with every change. Whoever finds another one under the lock than in its own view of the tables knows that it has not seen everything.
CREATE TABLE outlet (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  due_at bigint,
  blocked_until bigint,
  rev integer NOT NULL DEFAULT 0,
  in_flight integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  full_at integer,
  namespace text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  UNIQUE (namespace, name)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outlet_due ON outlet (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outlet_full ON outlet (full_at) WHERE full_at IS NOT NULL;
CREATE INDEX outlet_idle ON outlet (id) WHERE due_at IS NULL AND in_flight = 0;

-- state: 0 waiting, 1 sending, 2 delivered, 3 dead. at: when it is due while it waits, since when it is sent while it is.
-- outlet: where it waits, void once it has ended. lease_until is on the time line of the leases; node: which node sends it.
CREATE TABLE delivery (
  number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  seq bigint NOT NULL,
  at bigint NOT NULL,
  created_at bigint NOT NULL,
  outlet bigint NOT NULL,
  ended_at bigint,
  lease_until bigint,
  callback integer NOT NULL,
  version integer NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  lease_no integer NOT NULL DEFAULT 0,
  node integer,
  state smallint NOT NULL DEFAULT 0,
  namespace text COLLATE "C" NOT NULL,
  code text
) WITH (fillfactor = 90, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_threshold = 5000, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX delivery_waiting ON delivery (outlet, at, number) WHERE state = 0;
CREATE INDEX delivery_sending ON delivery (lease_until) WHERE state = 1;
CREATE INDEX delivery_seq ON delivery (seq);
CREATE INDEX delivery_listed ON delivery (namespace, state, number);

CREATE TABLE delivery_attempt (
  delivery bigint NOT NULL,
  attempt integer NOT NULL,
  duration_ms integer,
  at bigint NOT NULL,
  next_at bigint,
  status integer,
  code text,
  detail text,
  answer bytea,
  PRIMARY KEY (delivery, attempt)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
