-- The words are SQLite's; schema.rs says which three PostgreSQL calls otherwise.
-- BIGINT is every number; times are seconds since 1970; JSON is TEXT.

CREATE TABLE site (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    number BIGINT NOT NULL,
    code TEXT,
    created_at BIGINT
);
INSERT INTO site (one, epoch, number) VALUES (1, 1, 0);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE blocks (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    issuer TEXT,
    note TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation_number BIGINT NOT NULL,
    removed_generation BIGINT
);
CREATE UNIQUE INDEX blocks_live ON blocks (kind, value, COALESCE(issuer, '')) WHERE removed_generation IS NULL;
CREATE INDEX blocks_page ON blocks (id) WHERE removed_generation IS NULL;
CREATE INDEX blocks_added ON blocks (generation_number);
CREATE INDEX blocks_removed ON blocks (removed_generation) WHERE removed_generation IS NOT NULL;

CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    account TEXT NOT NULL,
    role TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    before TEXT,
    after TEXT,
    request_id TEXT NOT NULL
);
CREATE INDEX audit_account ON audit (account, id);
CREATE INDEX audit_name ON audit (kind, name, id);

CREATE TABLE accounts (
    name TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT,
    oidc_subject TEXT UNIQUE,
    disabled BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    last_sign_in BIGINT
);

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_tokens_account ON api_tokens (account);

CREATE TABLE sessions (
    secret_hash BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);
CREATE INDEX sessions_account ON sessions (account);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE sign_in_failures (
    subject TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);

CREATE TABLE members (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    code_secret BLOB,
    code_ends BIGINT,
    code_tries BIGINT NOT NULL,
    serial TEXT,
    certificate_ends BIGINT,
    sealing_key BLOB,
    enrolled_at BIGINT,
    renewed_at BIGINT,
    PRIMARY KEY (kind, name)
);

CREATE TABLE member_status (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE issued_certificates (
    serial TEXT NOT NULL PRIMARY KEY,
    authority TEXT NOT NULL,
    subject TEXT NOT NULL,
    purpose TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    revoked_at BIGINT
);
CREATE INDEX issued_certificates_not_after ON issued_certificates (not_after);
CREATE INDEX issued_certificates_revoked ON issued_certificates (authority) WHERE revoked_at IS NOT NULL;

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    ciphertext BLOB NOT NULL
);

CREATE TABLE bulk_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    max_uses BIGINT,
    uses BIGINT NOT NULL,
    network TEXT,
    note TEXT NOT NULL,
    blocked_at BIGINT,
    created_by TEXT NOT NULL
);

CREATE TABLE clients (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    identity TEXT NOT NULL,
    key_thumbprint TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    body TEXT NOT NULL,
    -- Name, identity and id in lower case. A search reads the index below, not the bodies.
    search TEXT NOT NULL
);
CREATE INDEX clients_state ON clients (state, id);
CREATE INDEX clients_search ON clients (id, state, search);
CREATE INDEX clients_identity ON clients (identity);
CREATE INDEX clients_key ON clients (key_thumbprint);

CREATE TABLE client_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    client TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    blocked_at BIGINT
);
CREATE INDEX client_tokens_client ON client_tokens (client);
CREATE INDEX client_tokens_expires ON client_tokens (expires_at);

CREATE TABLE idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status BIGINT NOT NULL,
    body TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

CREATE TABLE crls (
    trust TEXT NOT NULL,
    source TEXT NOT NULL,
    der BLOB,
    this_update BIGINT,
    next_update BIGINT,
    fetched_at BIGINT,
    tried_at BIGINT NOT NULL,
    error TEXT,
    PRIMARY KEY (trust, source)
);

CREATE TABLE warnings (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    what TEXT NOT NULL,
    since BIGINT NOT NULL,
    told_at BIGINT
);
