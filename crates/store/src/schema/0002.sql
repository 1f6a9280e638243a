-- Sign-ins through a provider that are under way: one row for each secret that somebody holds meanwhile, used once.

CREATE TABLE sign_ins (
    secret_hash BLOB NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_end ON sign_ins (expires_at);
