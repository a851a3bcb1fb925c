-- The log of calls, for MySQL 5.7 or newer and MariaDB 10.3 or newer. The server runs this file when it first connects.
-- A table that is there already is kept as it is; columns and the unique index that it lacks are added to it.
-- Times are UTC. Ids are compared byte by byte, hence the binary collation.

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
