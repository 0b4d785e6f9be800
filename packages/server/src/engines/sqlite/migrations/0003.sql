-- Results kept under business keys, backends that are polled, and named documents.

-- The key itself, for people and lists. key_hash: 52 bits of its SHA-256, since an index over text costs several times as much.
ALTER TABLE request ADD COLUMN key TEXT;
ALTER TABLE request ADD COLUMN key_hash INTEGER;
CREATE INDEX request_key ON request (key_hash) WHERE key_hash IS NOT NULL;

-- What shares one result: at most one operation computes it, and one stored result answers for it. Operations point here by keyed.
-- share, identity: digests, told apart by themselves where their 52 bits are equal. running, stored: numbers of operations.
-- fresh_until: null where the stored result answers no new submit and is found by key alone.
-- AUTOINCREMENT: what was forgotten must not live on in a row that happens to get the same number.
CREATE TABLE keyed (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue INTEGER NOT NULL,
  share_hash INTEGER NOT NULL,
  identity_hash INTEGER NOT NULL,
  share TEXT NOT NULL,
  identity TEXT NOT NULL,
  running INTEGER,
  stored INTEGER,
  stored_at INTEGER,
  fresh_until INTEGER,
  stale_until INTEGER
);
CREATE INDEX keyed_share ON keyed (share_hash, queue);
CREATE INDEX keyed_identity ON keyed (identity_hash, queue);
ALTER TABLE operation ADD COLUMN keyed INTEGER;

-- What the first submit with the key was told: 0 new, 1 joined, 2 stored.
ALTER TABLE idempotency ADD COLUMN told INTEGER NOT NULL DEFAULT 0;

-- Backends that said 202 and have to be asked: one row per operation while it runs. A row of a lease that has ended says nothing and goes when it is due.
CREATE TABLE poll (
  seq INTEGER PRIMARY KEY,
  lease_no INTEGER NOT NULL,
  at INTEGER NOT NULL,
  url TEXT NOT NULL
);
CREATE INDEX poll_at ON poll (at);

CREATE TABLE document (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  text TEXT NOT NULL,
  saved_at INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
