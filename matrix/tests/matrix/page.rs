//! The page for people.

use crate::fixture::Fixture;

#[test]
fn text_of_plugins_cannot_break_out_of_the_page() {
    let site = Fixture::new();
    site.manifest("<script>alert(1)</script>|");
    let matrix = site.matrix();
    assert!(!matrix.html().contains("<script>alert"));
    assert!(matrix.html().contains("&lt;script&gt;alert(1)&lt;/script&gt;|"));
    assert!(matrix.markdown().contains("&lt;script&gt;alert(1)&lt;/script&gt;\\|"));
    assert!(!matrix.html().contains("http"), "the page needs nothing from elsewhere");
}
