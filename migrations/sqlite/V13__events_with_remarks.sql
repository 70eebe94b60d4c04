-- Finds the events that could not be read, and those of which parts could not be, without reading every event.

PRAGMA user_version = 13;

CREATE INDEX webhook_events_error ON webhook_events (outcome) WHERE error IS NOT NULL;
