//! Passes on which version of burn the lock file names, for the title of the table.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let after = lock.split("name = \"burn\"\nversion = \"").nth(1).unwrap_or("?\"");
    println!("cargo::rustc-env=BURN_VERSION={}", after.split('"').next().unwrap_or("?"));
}
