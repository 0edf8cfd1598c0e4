fn main() {
    println!(
        "first: {}, {}, {}",
        traps_library::name(),
        traps_macro::name!(),
        env!("FROM_BUILD_SCRIPT")
    );
}
