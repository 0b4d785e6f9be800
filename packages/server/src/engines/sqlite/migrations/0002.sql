-- The log: events of a namespace, each at a position of its own.

-- Names this history. A store that is made anew, or put back from a copy that lost it, has another one, so readers notice that their positions are void.
INSERT INTO meta (key, value) VALUES ('epoch', lower(hex(randomblob(16))));

-- One row per namespace. last: its newest position, written once per commit, however many events that brought.
CREATE TABLE log (
  id INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL UNIQUE,
  last INTEGER NOT NULL
);

-- place: log number times 2^40 plus the position, in one integer, so that appending writes one tree and reading is one scan along it.
-- The pair as a key WITHOUT ROWID would keep bodies in the inner pages of the tree too: seven levels where three do.
CREATE TABLE event (
  place INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  head TEXT NOT NULL,
  appended_at INTEGER NOT NULL,
  body BLOB NOT NULL
);
