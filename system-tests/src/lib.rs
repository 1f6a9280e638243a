//! Tests of the whole system; everything is in `tests/`, and this library is empty on purpose.
