-- The log of calls and the directory of direct calls, for MySQL 5.7 or newer and MariaDB 10.3 or newer. The server runs
-- this file when it first connects. A table that is there already is kept as it is; columns and the unique index that
-- call_logs lacks are added to it. Times are UTC. Ids are compared byte by byte, hence the binary collations.

CREATE TABLE IF NOT EXISTS call_logs (
  id INT AUTO_INCREMENT PRIMARY KEY,
  session_id VARCHAR(36) NOT NULL,              -- one row for each session
  ride_id VARCHAR(255) NULL,                    -- NULL for calls that are not about a ride
  driver_id VARCHAR(255) NULL,                  -- the driver, or the caller
  passenger_id VARCHAR(255) NULL,               -- the passenger, or the callee
  status VARCHAR(50) NOT NULL DEFAULT 'created',-- created, active, ended
  initiated_by VARCHAR(255) NULL,               -- who sent the first offer
  end_reason VARCHAR(255) NULL,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  connected_at TIMESTAMP(3) NULL DEFAULT NULL,
  ended_at TIMESTAMP(3) NULL DEFAULT NULL,
  service VARCHAR(16) NULL,                     -- ride, direct, line; NULL is a ride
  ended_by VARCHAR(16) NULL,                    -- driver, passenger, caller, callee, backend, operator, clock
  detail TEXT NULL,
  media_connected_at TIMESTAMP(3) NULL DEFAULT NULL,
  relay BOOLEAN NULL,
  metadata TEXT NULL,                           -- JSON, as the app gave it
  UNIQUE KEY call_logs_session (session_id),
  KEY call_logs_ride (ride_id),
  KEY call_logs_driver (driver_id),
  KEY call_logs_passenger (passenger_id),
  KEY call_logs_created (created_at)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who a client id of direct calls is, since it first proved it.
CREATE TABLE IF NOT EXISTS direct_identities (
  client_id VARCHAR(64) NOT NULL PRIMARY KEY,
  public_key VARCHAR(512) NOT NULL,             -- SubjectPublicKeyInfo in DER, base64url
  bound_at BIGINT NOT NULL                      -- milliseconds since 1970
) DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

-- The keys of direct calls: a row for each change, chained by its hash. The highest version is the key as it stands.
CREATE TABLE IF NOT EXISTS direct_keys (
  client_id VARCHAR(64) NOT NULL,
  version INT NOT NULL,                         -- from 1, without a gap
  public_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, -- as the client gave it
  changed_at BIGINT NOT NULL,                   -- milliseconds since 1970
  previous VARCHAR(64) NOT NULL,                -- hash of the version before, empty for the first
  hash VARCHAR(64) NOT NULL,
  owner VARCHAR(64) NOT NULL,                   -- who may change it; empty for anybody, after a reset
  PRIMARY KEY (client_id, version)
) DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
