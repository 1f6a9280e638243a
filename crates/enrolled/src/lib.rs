//! What an enrolled program holds: its identity, the last good snapshot, how it follows the site.
