-- Topics and subscriptions.

-- One row per topic. Its counters are written once per commit, however many events that brought.
-- removed_to: largest position that it has lost to its retention.
CREATE TABLE topic (
  id INTEGER PRIMARY KEY,
  log INTEGER NOT NULL,
  name TEXT NOT NULL,
  events INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  last INTEGER NOT NULL DEFAULT 0,
  removed_to INTEGER NOT NULL DEFAULT 0,
  UNIQUE (log, name)
);

-- Nothing could be published until now, so there is nothing to keep.
DROP TABLE event;
-- place: log number times 2^40 plus the position. The index holds topic and place, in this order, so that a topic is read along it alone.
CREATE TABLE event (
  place INTEGER PRIMARY KEY,
  topic INTEGER NOT NULL,
  ordering TEXT,
  head TEXT NOT NULL,
  appended_at INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX event_topic ON event (topic);

-- Which events are known, so that a repeat is not written again. Rows are added at the end and removed at the beginning, and there is no index: digests
-- are everywhere in one, and each commit would write as many of its pages as it has events. Where to look is known in memory. identity: the number of the
-- log and half of the digest.
CREATE TABLE known_event (
  id INTEGER PRIMARY KEY,
  place INTEGER NOT NULL,
  until INTEGER NOT NULL,
  identity TEXT NOT NULL
);

-- A subscription is a cursor: everything up to read_to was looked at. What was taken and is not acknowledged has a row below; nothing else has.
-- AUTOINCREMENT: lease tokens carry the number, and those of one that was removed must not open its successor's.
CREATE TABLE subscription (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  text TEXT NOT NULL,
  topics TEXT NOT NULL,
  saved_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  paused INTEGER NOT NULL DEFAULT 0,
  read_to INTEGER NOT NULL,
  failures INTEGER NOT NULL DEFAULT 0,
  blocked_until INTEGER,
  UNIQUE (namespace, name)
);

-- state: 0 waiting until at, 1 sending until lease_until, 2 held behind another one of its key, 3 dead. kind: 1 push, 2 pull
CREATE TABLE taken (
  subscription INTEGER NOT NULL,
  position INTEGER NOT NULL,
  state INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  lease_no INTEGER NOT NULL,
  kind INTEGER,
  lease_until INTEGER,
  taken_at INTEGER NOT NULL,
  worker TEXT,
  ordering TEXT,
  code TEXT,
  detail TEXT,
  PRIMARY KEY (subscription, position)
) WITHOUT ROWID;
CREATE INDEX taken_waiting ON taken (subscription, at) WHERE state = 0;
CREATE INDEX taken_sending ON taken (lease_until) WHERE state = 1;
CREATE INDEX taken_timer ON taken (at) WHERE state = 0;
CREATE INDEX taken_ordering ON taken (subscription, ordering) WHERE ordering IS NOT NULL AND state < 3;

-- What is dead keeps a copy of its event, so that it holds back no topic's retention.
CREATE TABLE dead_event (
  subscription INTEGER NOT NULL,
  position INTEGER NOT NULL,
  topic TEXT NOT NULL,
  ordering TEXT,
  head TEXT NOT NULL,
  appended_at INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (subscription, position)
);
