//! What only a site server may do: issue certificates and tokens, sign snapshots, keep secrets.
