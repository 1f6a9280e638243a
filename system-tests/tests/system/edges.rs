//! What is seldom seen: limits of the system, strangers who take more than they give, and rights that end while they are used.

mod open_files;
mod rights;
mod strangers;
