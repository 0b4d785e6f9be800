-- Topics and subscriptions.

-- One row per topic, locked behind the counter of its log: an append changes those that it writes to. Each append takes a number for a new row before
-- it finds the old one: hence bigint. removed_to: largest position that it has lost to its retention.
CREATE TABLE topic (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  log bigint NOT NULL,
  events bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  last bigint NOT NULL DEFAULT 0,
  removed_to bigint NOT NULL DEFAULT 0,
  name text COLLATE "C" NOT NULL,
  UNIQUE (log, name)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX topic_newest ON topic (log, id);

-- Nothing could be published until now, so there is nothing to keep.
DROP TABLE event;
CREATE TABLE event (
  log bigint NOT NULL,
  position bigint NOT NULL,
  topic bigint NOT NULL,
  appended_at bigint NOT NULL,
  ordering text,
  head text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (log, position)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX event_topic ON event (topic, position);

-- Which events are known, so that a repeat is not written again.
CREATE TABLE known_event (
  log bigint NOT NULL,
  position bigint NOT NULL,
  until bigint NOT NULL,
  identity text COLLATE "C" NOT NULL,
  PRIMARY KEY (log, identity)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX known_event_until ON known_event (until);

-- A subscription is a cursor: everything up to read_to was looked at. What was taken and is not acknowledged has a row below; nothing else has.
CREATE TABLE subscription (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  saved_at bigint NOT NULL,
  created_at bigint NOT NULL,
  read_to bigint NOT NULL,
  blocked_until bigint,
  version integer NOT NULL DEFAULT 1,
  failures integer NOT NULL DEFAULT 0,
  paused boolean NOT NULL DEFAULT false,
  namespace text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  topics text NOT NULL,
  text text NOT NULL,
  UNIQUE (namespace, name)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);

-- state: 0 waiting until at, 1 sending until lease_until on the time line of the leases, 2 held behind another one of its key, 3 dead. kind: 1 push, 2 pull
CREATE TABLE taken (
  subscription bigint NOT NULL,
  position bigint NOT NULL,
  at bigint NOT NULL,
  taken_at bigint NOT NULL,
  lease_until bigint,
  attempt integer NOT NULL,
  lease_no integer NOT NULL,
  node integer,
  state smallint NOT NULL,
  kind smallint,
  worker text,
  ordering text COLLATE "C",
  code text,
  detail text,
  PRIMARY KEY (subscription, position)
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX taken_waiting ON taken (subscription, at, position) WHERE state = 0;
CREATE INDEX taken_timer ON taken (at) WHERE state = 0;
CREATE INDEX taken_sending ON taken (lease_until) WHERE state = 1;
CREATE INDEX taken_ordering ON taken (subscription, ordering, position) WHERE ordering IS NOT NULL AND state < 3;

-- What is dead keeps a copy of its event, so that it holds back no topic's retention.
CREATE TABLE dead_event (
  subscription bigint NOT NULL,
  position bigint NOT NULL,
  appended_at bigint NOT NULL,
  topic text NOT NULL,
  ordering text,
  head text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (subscription, position)
);
ALTER TABLE dead_event ALTER COLUMN body SET STORAGE EXTERNAL;
