//! The command line as a user meets it: help, and errors that say what to do.

#[test]
fn help_and_errors_read_as_recorded() {
    trycmd::TestCases::new().env("COLUMNS", "110").env("TWINHUB_LOG", "off").case("tests/cmd/*.trycmd");
}
