-- Operations that run one after another.

-- Bits of the ordering key, null without one. Two keys with the same bits wait for each other, and nothing else comes of it.
ALTER TABLE operation ADD COLUMN lane INTEGER;

-- The lease whose holder was told until when it holds: a backend may extend it before it says that it answers later, and that does not shorten it.
ALTER TABLE operation ADD COLUMN extended_no INTEGER;

-- The open operations of each lane, in the order of their commits, which is that of their numbers. Only the first may be leased; the others wait without
-- a time. run_at: when its client wants it to start at the earliest.
CREATE TABLE ordered (
  lane INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  PRIMARY KEY (lane, seq)
) WITHOUT ROWID;

-- Services that publish the transitions of their operations in every namespace, by their own wish. Of others a subscription may want it.
CREATE TABLE publisher (service TEXT PRIMARY KEY) WITHOUT ROWID;
