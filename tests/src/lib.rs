//! Tests of the whole product; see the files in this folder.
