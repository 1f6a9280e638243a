-- Devices: what registered clients tell of themselves, what they have sent, who is online through what, and what they shall do.

CREATE INDEX clients_name ON clients (name);

-- The latest of what each device says of itself. Apart from clients, so that a list reads small rows.
CREATE TABLE devices (
    client TEXT NOT NULL PRIMARY KEY REFERENCES clients (id) ON DELETE CASCADE,
    heartbeat TEXT,
    heartbeat_at BIGINT,
    inventory_at BIGINT,
    inventory_size BIGINT
);

CREATE TABLE inventories (
    client TEXT NOT NULL PRIMARY KEY REFERENCES clients (id) ON DELETE CASCADE,
    body TEXT NOT NULL
);

-- Every message, so that none is taken twice. What is kept elsewhere as the latest has no body here.
CREATE TABLE messages (
    client TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    through TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (client, id)
);
CREATE UNIQUE INDEX messages_number ON messages (client, number);
CREATE INDEX messages_received ON messages (received_at);

-- A device is online at the management point that said so last.
CREATE TABLE presence (
    client TEXT NOT NULL PRIMARY KEY REFERENCES clients (id) ON DELETE CASCADE,
    management_point TEXT NOT NULL,
    through TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX presence_management_point ON presence (management_point, client);
CREATE INDEX presence_through ON presence (through, client);

-- When a management point said last who is online.
CREATE TABLE presence_told (
    management_point TEXT NOT NULL PRIMARY KEY,
    told_at BIGINT NOT NULL
);

-- One task of a kind for a device at a time.
CREATE TABLE tasks (
    number BIGINT NOT NULL PRIMARY KEY,
    client TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tasks_client ON tasks (client, kind);

-- The last number given to a message and to a task.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO counters (name, number) VALUES ('messages', 0), ('tasks', 0);
