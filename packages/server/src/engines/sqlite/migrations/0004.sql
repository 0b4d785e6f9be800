-- Who is to be told of an operation, and every time that somebody is.

-- null: nobody; 1: of its end; 2: of its progress too, at least one of them.
ALTER TABLE operation ADD COLUMN callbacks INTEGER;

CREATE TABLE callback (
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  url TEXT NOT NULL,
  outlet TEXT NOT NULL,
  correlation TEXT,
  progress INTEGER NOT NULL,
  thin INTEGER NOT NULL,
  base TEXT NOT NULL,
  PRIMARY KEY (seq, n)
) WITHOUT ROWID;

-- Places that something is to be sent to; a row only while something is. in_flight and due_at follow from the deliveries and are written after each
-- change of them. due_at: when the next one may be sent if there is room, null where none waits. served_at: when the last one was, so that all take turns.
CREATE TABLE outlet (
  id INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  in_flight INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  blocked_until INTEGER,
  served_at INTEGER NOT NULL DEFAULT 0,
  due_at INTEGER,
  UNIQUE (namespace, name)
);
CREATE INDEX outlet_due ON outlet (due_at) WHERE due_at IS NOT NULL;

-- Numbers are those of the operations' own sequence: never given twice, not even by a store that was put back from a copy.
-- state: 0 waiting, 1 sending, 2 delivered, 3 dead. at: when it is due while it waits, since when it is sent while it is.
-- outlet: where it waits, void once it has ended. lease_until: on the time line of the leases.
CREATE TABLE delivery (
  number INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  callback INTEGER NOT NULL,
  version INTEGER NOT NULL,
  namespace TEXT NOT NULL,
  outlet INTEGER NOT NULL,
  state INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  lease_no INTEGER NOT NULL,
  lease_until INTEGER,
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  code TEXT
);
CREATE INDEX delivery_waiting ON delivery (outlet, at) WHERE state = 0;
CREATE INDEX delivery_sending ON delivery (outlet, lease_until) WHERE state = 1;
CREATE INDEX delivery_seq ON delivery (seq);
CREATE INDEX delivery_listed ON delivery (namespace, state);

CREATE TABLE delivery_attempt (
  id INTEGER PRIMARY KEY,
  delivery INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  duration INTEGER,
  status INTEGER,
  code TEXT,
  detail TEXT,
  answer BLOB,
  next_at INTEGER
);
CREATE INDEX delivery_attempt_of ON delivery_attempt (delivery, attempt);
