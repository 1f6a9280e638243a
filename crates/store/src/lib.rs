//! The site server's database: SQLite or PostgreSQL, by the same statements.
