//! The three zones as network namespaces.
