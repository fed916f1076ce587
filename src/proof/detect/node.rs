//! The `test` script of a `package.json`, and the package manager that it is written for.
//!
//! Invariant: what the repository names is used, then what its nearest lock file is of; npm only where there is neither.

use serde_json::Value;

use super::look::Look;
use super::{Detected, found};

/// Package managers by their lock files.
const LOCKS: [(&str, &str); 6] = [
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
];

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let package: Value = serde_json::from_str(&look.text("package.json")).ok()?;
    let script = package.pointer("/scripts/test")?.as_str()?;
    // What `npm init` writes when there are no tests.
    if script.trim().is_empty() || script.contains("no test specified") {
        return None;
    }
    // The nearest one; in the same folder, the first of the list.
    let lock = LOCKS.iter().filter_map(|(lock, manager)| Some((look.way_up(lock)?, *manager)));
    let lock = lock.min_by_key(|(way, _)| way.len());
    let named = named(look, &package);
    let manager = named.as_deref().or(lock.as_ref().map(|(_, manager)| *manager)).unwrap_or("npm");
    let way = lock.filter(|(_, of)| *of == manager).map(|(way, _)| way);
    match (manager, way) {
        ("pnpm", Some(_)) => found("package.json and pnpm", Some("pnpm install --frozen-lockfile"), "pnpm test"),
        ("pnpm", None) => found("package.json and pnpm", Some("pnpm install"), "pnpm test"),
        ("yarn", Some(_)) => found("package.json and yarn", Some("yarn install --frozen-lockfile"), "yarn test"),
        ("yarn", None) => found("package.json and yarn", Some("yarn install"), "yarn test"),
        ("bun", Some(_)) => found("package.json and bun", Some("bun install --frozen-lockfile"), "bun run test"),
        ("bun", None) => found("package.json and bun", Some("bun install"), "bun run test"),
        (_, Some(way)) if way.is_empty() => found("package.json", Some("npm ci"), "npm test"),
        // The lock file of a workspace is at its top, and so is what it installs.
        (_, Some(way)) => found("package.json", Some(&format!("cd {way} && npm ci")), "npm test"),
        (_, None) => {
            let has_dependencies = ["dependencies", "devDependencies"]
                .iter()
                .any(|key| package.get(key).and_then(Value::as_object).is_some_and(|map| !map.is_empty()));
            let setup = has_dependencies.then_some("npm install --no-audit --no-fund --no-package-lock");
            found("package.json", setup, "npm test")
        }
    }
}

/// The manager in `packageManager`, here or at the top of the checkout.
fn named(look: &Look<'_>, package: &Value) -> Option<String> {
    let of = |package: &Value| Some(package.get("packageManager")?.as_str()?.split('@').next()?.to_owned());
    of(package).or_else(|| of(&serde_json::from_str(&look.text_at_top("package.json")).ok()?))
}
