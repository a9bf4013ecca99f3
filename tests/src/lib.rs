//! Holds tests only; see the `tests` directory.
