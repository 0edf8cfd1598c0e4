pub fn name() -> &'static str {
    "library"
}
