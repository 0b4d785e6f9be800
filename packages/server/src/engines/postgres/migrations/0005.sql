-- Operations that run one after another. Beside what is there: an operation without an ordering key pays for none of it.

-- Bits of the ordering key, null without one. Two keys with the same bits wait for each other, and nothing else comes of it.
ALTER TABLE operation ADD COLUMN lane bigint;

-- The lease whose holder was told until when it holds: a backend may extend it before it says that it answers later, and that does not shorten it.
ALTER TABLE operation ADD COLUMN extended_no integer;

-- The open operations of each lane. Who adds one or ends one holds the lane's lock from before its number is taken until the commit: so numbers are in the
-- order of the commits, and whoever ends the first one sees all that wait behind it. Only the first may be leased; the others wait without a time.
-- run_at: when its client wants it to start at the earliest.
CREATE TABLE ordered (
  lane bigint NOT NULL,
  seq bigint NOT NULL,
  run_at bigint NOT NULL,
  PRIMARY KEY (lane, seq)
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Queues of which somebody wants the transitions as events: by the wish of the service in every namespace, or of a subscription in one.
ALTER TABLE queue ADD COLUMN publishes boolean NOT NULL DEFAULT false;
CREATE TABLE publisher (service text COLLATE "C" PRIMARY KEY);

-- Writes the changes of these operations to these versions to the log, each as its columns and those of its timeline: the event is made of them by who reads
-- it, so it needs neither the operation nor its timeline then. The counters are moved as an append moves them, logs before topics, in the order of names.
CREATE FUNCTION tell_transitions(seqs bigint[], versions integer[]) RETURNS void LANGUAGE sql AS $$
WITH told AS MATERIALIZED (
  SELECT q.namespace, o.updated_at, convert_to(json_build_object('version', i.version, 'service', q.service,
      'columns', json_build_array(o.seq, r.nonce, o.queue, o.stage, o.version, o.attempt, o.lease_no, r.correlation, r.labels, o.created_at, o.updated_at, o.started_at,
        o.finished_at, o.run_at, o.deadline_at, o.lease_until, o.wake_at, o.error_code, o.error_message, o.progress_seq, o.progress, o.attempt_at, o.worker,
        (SELECT x.headers FROM result x WHERE x.seq = o.seq AND x.status = 303 AND o.stage = 3), r.key),
      'rows', (SELECT json_agg(json_build_array(h.n, h.at, h.kind, h.attempt, h.started_at, h.worker, h.outcome, h.backend_status, h.detail, h.next_at, h.progress) ORDER BY h.n)
        FROM happening h WHERE h.seq = o.seq AND h.n BETWEEN i.version - 1 AND i.version))::text, 'UTF8') AS body,
    'operations.' || q.service || '.' || (CASE WHEN i.version = 1 THEN 'queued' ELSE (ARRAY['queued', 'queued', 'running', 'succeeded', 'failed', 'cancelled'])[o.stage + 1] END) AS topic,
    row_number() OVER (PARTITION BY q.namespace ORDER BY i.ord) AS n, count(*) OVER (PARTITION BY q.namespace) AS total
  FROM unnest(seqs, versions) WITH ORDINALITY AS i (seq, version, ord)
    JOIN operation o ON o.seq = i.seq JOIN request r ON r.seq = o.seq JOIN queue q ON q.id = o.queue
), moved AS (
  INSERT INTO log AS l (namespace, last) SELECT namespace, count(*) FROM told GROUP BY namespace ORDER BY namespace
  ON CONFLICT (namespace) DO UPDATE SET last = l.last + excluded.last RETURNING l.id, l.namespace, l.last
), placed AS MATERIALIZED (
  SELECT t.*, m.id AS log, m.last - t.total + t.n AS position FROM told t JOIN moved m ON m.namespace = t.namespace
), topics AS (
  INSERT INTO topic AS t (log, name, events, bytes, last)
  SELECT log, topic, count(*), sum(octet_length(body)), max(position) FROM placed GROUP BY log, topic ORDER BY log, topic
  ON CONFLICT (log, name) DO UPDATE SET events = t.events + excluded.events, bytes = t.bytes + excluded.bytes, last = excluded.last
  RETURNING t.id, t.log, t.name
)
INSERT INTO event (log, position, topic, appended_at, head, body)
SELECT p.log, p.position, t.id, p.updated_at, '', p.body FROM placed p JOIN topics t ON t.log = p.log AND t.name = p.topic
$$;

-- Of triggers that stand on the table of operations only while somebody wants the transitions of any queue: so nobody else pays for them, and no statement
-- on any node can forget to tell. A change within a state, as progress is one, is no transition. No line within a body ends with a semicolon: there a
-- statement of this file ends.
CREATE FUNCTION operations_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_transitions(array_agg(x.seq ORDER BY x.seq, x.version), array_agg(x.version ORDER BY x.seq, x.version)) FROM (
    SELECT n.seq, v.version FROM added n JOIN queue q ON q.id = n.queue AND q.publishes CROSS JOIN generate_series(1, n.version) AS v (version)
  ) x HAVING count(*) > 0; RETURN NULL; END $$;

CREATE FUNCTION operations_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_transitions(array_agg(x.seq ORDER BY x.seq), array_agg(x.version ORDER BY x.seq)) FROM (
    SELECT n.seq, n.version FROM moved n JOIN queue q ON q.id = n.queue AND q.publishes JOIN unmoved o ON o.seq = n.seq
    WHERE n.version > o.version AND greatest(n.stage, 1) <> greatest(o.stage, 1)
  ) x HAVING count(*) > 0; RETURN NULL; END $$;

-- By its owner's right: who serves the store need not own its tables.
CREATE FUNCTION switch_transitions(are_wanted boolean) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF are_wanted = EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'operation'::regclass AND tgname = 'operation_moved') THEN RETURN; END IF; IF are_wanted THEN
    CREATE TRIGGER operation_added AFTER INSERT ON operation REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION operations_added(); CREATE TRIGGER operation_moved AFTER UPDATE ON operation REFERENCING OLD TABLE AS unmoved NEW TABLE AS moved
      FOR EACH STATEMENT EXECUTE FUNCTION operations_moved(); ELSE
    DROP TRIGGER operation_added ON operation; DROP TRIGGER operation_moved ON operation; END IF; END $$;
