//! Lying peers against the real programs.
