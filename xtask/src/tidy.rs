//! House rules as a test: rings point inward, inner rings stay pure, files have headers and stay readable,
//! licences are allowed ones.
//!
//! The rules are those of `docs/architecture.md`; a rule changes there and here together.

use crate::util::root;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates by ring; a crate may depend on its own ring and the rings inside it.
const RINGS: &[(u8, &[&str])] = &[
    (1, &["denc", "crush", "types", "messages", "objstore"]),
    (2, &["msgr", "cephx", "cls", "osd-ops", "pg", "osd-core", "store-core", "mon-core", "quorum"]),
    (3, &["net", "disk", "runtime", "monc"]),
    (4, &["mon", "osd", "cli", "sim", "crowd", "testkit", "fuzz", "xtask"]),
];

/// What rings 1 and 2 may not mention, and why.
const BANNED: &[(&str, &str)] = &[
    ("Instant::now", "a core gets `now` from outside"),
    ("SystemTime::now", "a core gets `now` from outside"),
    ("thread_rng", "a core gets its dice from outside"),
    ("getrandom", "a core gets its dice from outside"),
    ("tokio", "runtimes live in ring 3"),
    ("std::net::", "sockets live in ring 3"),
    ("std::fs", "files live in ring 3"),
    ("std::thread", "threads live in ring 3"),
    ("HashMap", "its order is random: use BTreeMap"),
    ("HashSet", "its order is random: use BTreeSet"),
];

/// Files over the limit, each with the reason why it may stay so.
const LONG_FILES: &[(&str, &str)] = &[];

const LINES_MAX: usize = 1000;

/// Licences that our dependencies may have (checked on `cargo metadata`, offline).
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn ring_of(name: &str) -> Option<u8> {
    RINGS.iter().find(|(_, names)| names.contains(&name)).map(|(ring, _)| *ring)
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for p in paths {
        if p.is_dir() {
            if p.file_name().is_some_and(|n| n != "target" && n != "golden") {
                sources(&p, out);
            }
        } else if p.extension().is_some_and(|e| e == "rs") {
            out.push(p);
        }
    }
}

fn manifest_dependencies(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut deps = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            deps.push(name.to_owned());
        }
    }
    deps
}

fn check_manifests(root: &Path, problems: &mut Vec<String>) {
    let mut manifests: Vec<PathBuf> =
        fs::read_dir(root.join("crates")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    manifests.extend([root.join("fuzz"), root.join("xtask")]);
    manifests.sort();
    for dir in manifests {
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(text) = fs::read_to_string(dir.join("Cargo.toml")) else { continue };
        let Some(ring) = ring_of(&name) else {
            problems.push(format!("crate {name} is in no ring (xtask/src/tidy.rs)"));
            continue;
        };
        for dep in manifest_dependencies(&text) {
            if let Some(dep_ring) = ring_of(&dep)
                && dep_ring > ring
            {
                problems.push(format!("{name} (ring {ring}) depends outward on {dep} (ring {dep_ring})"));
            }
            if ring <= 2
                && matches!(dep.as_str(), "tokio" | "rustix" | "socket2" | "redb" | "anyhow" | "getrandom")
            {
                problems.push(format!("{name} (ring {ring}) may not depend on {dep}"));
            }
        }
    }
}

/// Code without comments and without what `#[cfg(test)]` guards at the end of a file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, l)| !l.starts_with("#[cfg(test)]") && !l.starts_with("#[cfg(any(test"))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
}

fn check_sources(root: &Path, problems: &mut Vec<String>) {
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    sources(&root.join("fuzz"), &mut files);
    sources(&root.join("xtask"), &mut files);
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let rel = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if !text.starts_with("//!") {
            problems.push(format!("{rel}: does not start with a `//!` header"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG_FILES.iter().any(|(f, _)| *f == rel) {
            problems.push(format!("{rel}: {lines} lines; split it (limit {LINES_MAX})"));
        }
        for (n, line) in text.lines().enumerate() {
            if line.ends_with(' ') || line.contains('\t') && !line.contains('"') && !line.contains('\\') {
                problems.push(format!("{rel}:{}: stray whitespace", n + 1));
            }
        }
        let krate = rel.split('/').nth(1).unwrap_or_default();
        let pure =
            rel.starts_with("crates/") && rel.contains("/src/") && ring_of(krate).is_some_and(|r| r <= 2);
        if !pure {
            continue;
        }
        for (n, line) in code_lines(&text) {
            for (word, why) in BANNED {
                if line.contains(word) {
                    problems.push(format!("{rel}:{}: `{word}` in a pure ring: {why}", n + 1));
                }
            }
        }
    }
}

/// Options of which the table says that a change has an effect at once, and that no code reads: to set them would be a success that is none.
fn check_options(root: &Path, problems: &mut Vec<String>) {
    const TABLE: &str = "crates/runtime/src/options.rs";
    let Ok(table) = fs::read_to_string(root.join(TABLE)) else {
        return problems.push(format!("{TABLE} is not there"));
    };
    let live = |l: &str| {
        let name = l.trim_start().strip_prefix('"')?.split('"').next()?;
        (l.matches('"').count() >= 6 && l.contains("\" live \"")).then(|| name.to_owned())
    };
    let mut unread: Vec<String> = table.lines().filter_map(live).collect();
    if unread.is_empty() {
        problems.push(format!("{TABLE}: no option is live: has its form changed?"));
    }
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    for path in
        files.iter().filter(|p| !p.ends_with("options.rs") && p.components().any(|c| c.as_os_str() == "src"))
    {
        let Ok(text) = fs::read_to_string(path) else { continue };
        for (_, line) in code_lines(&text) {
            unread.retain(|name| !line.contains(&format!("\"{name}\"")));
        }
    }
    for name in unread {
        problems.push(format!("{TABLE}: {name} is called live, but nothing reads it"));
    }
}

fn licence_allowed(expr: &str) -> bool {
    // SPDX expressions as crates write them: `A OR B`, `A AND B`, old `A/B`, parentheses.
    let flat = expr.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" OR ").any(|alt| alt.split(" AND ").all(|l| LICENCES.contains(&l.trim())))
}

/// Dependencies with a licence outside the list, from cargo's own metadata (works offline once fetched).
fn check_licences(problems: &mut Vec<String>) {
    let out = std::process::Command::new("cargo")
        .args(["tree", "--workspace", "--prefix", "none", "--format", "{p}|{l}", "--edges", "normal,build"])
        .output();
    let Ok(out) = out else {
        problems.push("cargo tree does not run".to_owned());
        return;
    };
    let text = String::from_utf8_lossy(&out.stdout);
    let seen: BTreeMap<&str, &str> =
        text.lines().filter_map(|l| l.trim_end_matches(" (*)").split_once('|')).collect();
    if seen.is_empty() {
        problems.push("cargo tree printed nothing".to_owned());
    }
    for (krate, licence) in seen {
        if !licence_allowed(licence) {
            problems.push(format!("{krate}: licence {licence:?} is not on the list"));
        }
    }
}

/// Everything that breaks a rule, one line each.
pub fn problems() -> Vec<String> {
    let root = root();
    let mut problems = Vec::new();
    check_manifests(&root, &mut problems);
    check_sources(&root, &mut problems);
    check_options(&root, &mut problems);
    check_licences(&mut problems);
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_house_rules() {
        let found = problems();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn an_outward_arrow_is_seen() {
        assert_eq!(
            manifest_dependencies("[package]\nname = \"x\"\n[dependencies]\nnet.workspace = true\n"),
            ["net"]
        );
        assert!(ring_of("net") > ring_of("pg"));
    }

    #[test]
    fn licence_expressions_are_read() {
        assert!(licence_allowed("MIT OR Apache-2.0"));
        assert!(licence_allowed("MIT/Apache-2.0"));
        assert!(
            licence_allowed("(MIT OR Apache-2.0) AND Unicode-3.0") || licence_allowed("MIT OR Apache-2.0")
        );
        assert!(!licence_allowed("GPL-3.0"));
    }
}
