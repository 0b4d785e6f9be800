-- The first schema: operations, their bodies, their results, keys and counters.
-- auto_vacuum=INCREMENTAL is set before this file runs: it cannot be had cheaply later.

CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- One row per namespace and service; counters ride in the commits, so nothing is ever counted by a scan.
CREATE TABLE queue (
  id INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  service TEXT NOT NULL,
  queued INTEGER NOT NULL DEFAULT 0,
  running INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  UNIQUE (namespace, service)
);

-- The hot row: small, rewritten by each transition. Keys are handed out by the store and only grow,
-- so inserts append to the tree (a text key without rowid measured four times slower).
-- stage: 0 ready, 1 waiting for run_at, 2 running, 3 succeeded, 4 failed, 5 cancelled
-- wake_at: the next moment the clock has something to say: start-by, deadline, run_at or lease end while open, retention's end once done
-- lease_kind: 1 push, 2 pull, 3 later
-- The queue number carries namespace and service.
CREATE TABLE operation (
  seq INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  nonce TEXT NOT NULL,
  stage INTEGER NOT NULL,
  version INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  lease_no INTEGER NOT NULL,
  lease_kind INTEGER,
  rank INTEGER NOT NULL,
  wake_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deadline_at INTEGER NOT NULL,
  retention_ms INTEGER NOT NULL,
  keep_until INTEGER,
  run_at INTEGER,
  start_by_at INTEGER,
  started_at INTEGER,
  attempt_at INTEGER,
  finished_at INTEGER,
  lease_until INTEGER,
  worker TEXT,
  error_code TEXT,
  error_message TEXT,
  progress_seq INTEGER,
  progress TEXT
);

CREATE INDEX operation_ready ON operation (queue, rank) WHERE stage = 0;
CREATE INDEX operation_timer ON operation (wake_at) WHERE stage < 3;
CREATE INDEX operation_retention ON operation (wake_at) WHERE stage >= 3;
CREATE INDEX operation_push ON operation (queue) WHERE lease_kind = 1;
CREATE INDEX operation_trouble ON operation (queue, seq) WHERE stage >= 4;

-- What came in: written once, never touched again. Bodies over the inline size stand in body_part.
CREATE TABLE request (
  seq INTEGER PRIMARY KEY,
  correlation TEXT,
  labels TEXT,
  head TEXT NOT NULL,
  body_bytes INTEGER NOT NULL,
  body BLOB
);
CREATE INDEX request_correlation ON request (correlation) WHERE correlation IS NOT NULL;

-- What came out. hash: SHA-256 of the body, base64url.
CREATE TABLE result (
  seq INTEGER PRIMARY KEY,
  status INTEGER NOT NULL,
  headers TEXT NOT NULL,
  lease_no INTEGER NOT NULL,
  body_bytes INTEGER NOT NULL,
  hash TEXT NOT NULL,
  body BLOB
);

-- Pieces of large bodies, so that a slow reader of a large result costs a piece of memory and not the whole. side: 0 request, 1 result
CREATE TABLE body_part (
  seq INTEGER NOT NULL,
  side INTEGER NOT NULL,
  part INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (seq, side, part)
);

-- Attempts that did not end the operation, and progress: a row in the commit that caused it. kind: 0 attempt, 1 progress
CREATE TABLE happening (
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  started_at INTEGER,
  worker TEXT,
  outcome TEXT,
  backend_status INTEGER,
  detail TEXT,
  next_at INTEGER,
  progress TEXT,
  PRIMARY KEY (seq, n)
) WITHOUT ROWID;

-- key_hash: 53 bits of SHA-256 over the key; equal hashes are told apart by the key itself.
CREATE TABLE idempotency (
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  key_hash INTEGER NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  seq INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX idempotency_key ON idempotency (queue, key_hash);
CREATE INDEX idempotency_seq ON idempotency (seq);

CREATE TABLE label (
  queue INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (name, value, seq)
) WITHOUT ROWID;
CREATE INDEX label_seq ON label (seq);
